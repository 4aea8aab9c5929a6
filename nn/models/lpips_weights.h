// Loads published LPIPS weights, which come as
//
//   torchvision's vgg16-397923af.pth or alexnet-owt-7be5be79.pth     features.<i>.weight and .bias; classifier.* is ignored
//   lpips' (v0.1) vgg.pth or alex.pth, also RAE's and taming's       lin<l>.model.1.weight
//   a whole LPIPS module of either package                           net.slice<k>.<i>. ..., scaling_layer.*, lin<l>. ..., lins.<l>. ... (again)
//   any file of the first two together, under their names            written by save_safetensors(file, state_dict(lpips))
//
// in every format that load_weights (nn/checkpoint.h) reads, among them the torch files from before PyTorch 1.6.
#pragma once

#include <string>

#include "nn/checkpoint.h"
#include "nn/models/lpips.h"

namespace fm {

// Both are the `where` of load_weights. `heads` is empty if the file of the trunk holds the heads too.
struct LpipsFiles {
  std::string trunk, heads;
};

// Returns the network in f32, frozen. FileError, with the file and what it holds, for the file of another network, a missing or unknown tensor, another
// shape, a number that is not finite, a negative head, or another scaling of the images.
Lpips load_lpips(const LpipsFiles& files, const LpipsConfig& config, const Warn& warn);

// The network and files that a text names: "vgg:TRUNK,HEADS", "alex:TRUNK,HEADS", or "vgg:FILE" for one file of both. ConfigError for another form.
struct LpipsText {
  LpipsConfig config;
  LpipsFiles files;
};
LpipsText parse_lpips(const std::string& text);
std::string to_text(const LpipsText& parsed);
Lpips open_lpips(const std::string& text, const Warn& warn);

// The same from tensors in memory: `heads` is null if the weights of the trunk hold the heads too.
Lpips lpips_from(Weights trunk, const Weights* heads, const LpipsConfig& config);

}  // namespace fm
