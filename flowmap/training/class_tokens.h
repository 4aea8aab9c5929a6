// Class tokens of images as REG's training takes them (Wu et al. 2025; sdvae-sit.md 2.5): those of DINOv2 without registers, after its last norm, of
//
//   R((image - m) / d)     R: to 224 x 224, PyTorch's bicubic without antialiasing, not clamped;  m, d: mean and deviation of ImageNet
//
// with the positions resized as by timm (nn/models/dinov2_features.h). A cache of latents (data/latent_cache.h) can hold them: a token of D numbers is a
// latent (D, 1, 1).
#pragma once

#include <memory>
#include <string>

#include "flowmap/training/latent_space.h"
#include "nn/models/dinov2_features.h"

namespace fm {

// Images (n, 1 or 3, H, W) in [0, 1] -> the network's input (n, 3, 224, 224); a grey image has three equal channels. ShapeError for other shapes.
Tensor class_token_input(const Tensor& images);

// FileError as from load_dinov2_features().
std::shared_ptr<const Dinov2Features> load_class_token_encoder(const std::string& where, const Warn& warn);

// encode: class_token_input, then the network: (n, D, 1, 1). There is no decode.
LatentCoder class_token_coder(std::shared_ptr<const Dinov2Features> net);

}  // namespace fm
