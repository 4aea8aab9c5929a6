#include "flowmap/training/class_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "nn/loaded.h"
#include "nn/models/presets.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/resize.h"

namespace fm {
namespace {

constexpr std::int64_t token_input_side = 224, tokens_at_a_time = 16;

Tensor of_channels(const double (&values)[3], Device device) {
  return Tensor::from(std::vector<double>(std::begin(values), std::end(values)), {3, 1, 1}).to(DType::f32).to(device);
}

}  // namespace

Tensor class_token_input(const Tensor& images) {
  if (images.rank() != 4 || (images.dim(1) != 1 && images.dim(1) != 3))
    throw ShapeError(fmt::format("class tokens are of images with 1 or 3 channels, (n, 1 or 3, H, W), but the samples have shape {}", to_string(images.shape())));
  const Tensor x = (images - of_channels(imagenet_mean, images.device())) / of_channels(imagenet_std, images.device());     // grey: three channels from here on
  return resize(x, token_input_side, token_input_side, Interpolation::bicubic);
}

std::shared_ptr<const Dinov2Features> load_class_token_encoder(const std::string& where, const Warn& warn) {
  return std::make_shared<const Dinov2Features>(load_dinov2_features(where, warn, Dinov2Positions::timm));
}

LatentCoder class_token_coder(std::shared_ptr<const Dinov2Features> net) {
  LatentCoder coder{.name = "class token", .shape = {net->encoder.config.width, 1, 1}};
  coder.preprocessing = fmt::format("class token of {}, bicubic to {} pixels", net->name, token_input_side);
  coder.encoder = [net] { return Checksums{{"class tokens", checksum(state_dict(net->encoder))}}; };
  coder.encode = [net](const Tensor& images) {
    std::vector<Tensor> parts;
    for (std::int64_t i = 0; i < images.dim(0); i += tokens_at_a_time) {
      check_interrupt();
      parts.push_back((*net)(class_token_input(images.slice(0, i, std::min(images.dim(0), i + tokens_at_a_time)))));
    }
    const Tensor tokens = concat(parts, 0);
    return tokens.reshape({tokens.dim(0), tokens.dim(1), 1, 1});
  };
  return coder;
}

}  // namespace fm
