// LPIPS: a distance of images in the features of an image classifier (Zhang et al. 2018, arXiv:1801.03924), version 0.1 of the package `lpips`.
//
//   d(x, y) = sum_l mean_{i,j} sum_c w_lc (n_l(x) - n_l(y))^2      n_l(x) = f_l(x) / (|f_l(x)| + 1e-10), the norm over the channels of a pixel
//
// f_l: features after ReLU of VGG16 (Simonyan & Zisserman 2015) or AlexNet (Krizhevsky 2014), of images that are shifted and scaled by channel.
// w_l >= 0: the head of layer l. A pixel whose features are all 0 has n = 0, and its derivative is defined as 0. (The root's derivative is infinite.)
//
// Names of tensors are those of torchvision (features.0.weight, features.0.bias, ...) and of lpips (lin0.model.1.weight, ...).
#pragma once

#include <string>
#include <vector>

#include "nn/config/visit.h"
#include "nn/layers/conv.h"
#include "nn/module.h"

namespace fm {

struct LpipsConfig {
  std::string trunk = "vgg";
  template <class V> void visit(V&& v) { v("trunk", trunk, "network of the features: VGG16 or AlexNet", one_of({"vgg", "alex"})); }
};

// A convolution of the trunk with its ReLU.
struct LpipsLayer {
  int index;                                           // its place among torchvision's layers: features.<index>
  int pool = 0;                                        // kernel of the max pool, of stride 2, before it; 0: none
  bool tap = false;                                    // its features enter the distance
  Conv2d conv;

  Var operator()(const Var& x) const;
};

// The convolutions of VGG16 or AlexNet. Weights are frozen: no gradient reaches them.
struct LpipsTrunk {
  LpipsConfig config;
  std::vector<LpipsLayer> layers;

  explicit LpipsTrunk(const LpipsConfig& config);
  LpipsTrunk(LpipsTrunk&&) = default;
  LpipsTrunk& operator=(LpipsTrunk&&) = default;
  std::int64_t smallest_image() const;                 // least height and width, in pixels
  // Images (N, 3, H, W) in [-1, 1], shifted and scaled as the trunk expects them, in the type of the weights. DTypeError for images of integers.
  Var scaled(const Var& images) const;
  std::int64_t taped_numbers(std::int64_t side) const; // numbers that a tape keeps of one image of side x side pixels in a distance, heads included
  std::vector<Var> features(const Var& images) const;  // the tapped layers, (N, C_l, H_l, W_l), before normalization

  template <class V> void visit(V&& v) {
    for (LpipsLayer& layer : layers) v(("features." + std::to_string(layer.index)).c_str(), layer.conv);
  }
};

struct LpipsHeads {
  LpipsConfig config;
  std::vector<Parameter> weights;                      // (1, C_l, 1, 1) for each tapped layer

  explicit LpipsHeads(const LpipsConfig& config);
  LpipsHeads(LpipsHeads&&) = default;
  LpipsHeads& operator=(LpipsHeads&&) = default;
  template <class V> void visit(V&& v) {
    for (std::size_t l = 0; l < weights.size(); ++l) v(("lin" + std::to_string(l) + ".model.1.weight").c_str(), weights[l]);
  }
};

struct Lpips {
  LpipsConfig config;
  LpipsTrunk trunk;
  LpipsHeads heads;

  explicit Lpips(const LpipsConfig& config_ = {}) : config(config_), trunk(config_), heads(config_) {}
  Lpips(LpipsTrunk trunk_, LpipsHeads heads_) : config(trunk_.config), trunk(std::move(trunk_)), heads(std::move(heads_)) {}

  // Distances (N) of the images in and ref (N, 3, H, W) in [-1, 1], or one ref (1, 3, H, W) for all. Values outside of [-1, 1] are not clamped. Both may
  // have histories; the features of a constant image are computed without record and freed layer by layer. With `in` on a tape, the tape keeps one map
  // of numbers for each layer, and two more for each tapped layer. ShapeError if the shapes differ or the images are too small, DTypeError for integers.
  Var operator()(const Var& in, const Var& ref) const;

  template <class V> void visit(V&& v) {
    trunk.visit(v);
    heads.visit(v);
  }
};

// n(f) over dimension 1 of f (N, C, H, W), with the derivative 0 where |f| = 0.
Var normalize_channels(const Var& f);

std::string size_text(const LpipsConfig& config);      // "LPIPS with VGG16"

}  // namespace fm
