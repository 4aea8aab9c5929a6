#include "nn/models/rae.h"

#include <algorithm>
#include <cmath>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/resize.h"
#include "tensor/error.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

constexpr std::int64_t block = 256;                // images per call of a network

template <class F> Tensor in_blocks(const Tensor& x, F&& f) {
  const PauseTape pause;
  std::vector<Tensor> parts;
  for (std::int64_t i = 0; i < x.dim(0); i += block) parts.push_back(f(x.slice(0, i, std::min(x.dim(0), i + block))));
  return parts.size() == 1 ? parts[0] : concat(parts, 0);
}

RaeConfig checked(const RaeConfig& config) {
  const RaeConfig c = checked_config(config, "Rae");
  if (c.decoder.latent_channels != c.encoder.width)
    throw ConfigError("Rae: decoder.latent_channels = " + std::to_string(c.decoder.latent_channels) + " must equal encoder.width = " +
                      std::to_string(c.encoder.width));
  for (const auto& [name, values] : {std::pair{"image_mean", &c.image_mean}, std::pair{"image_std", &c.image_std}})
    if (values->size() != 1 && values->size() != static_cast<std::size_t>(c.encoder.channels))
      throw ConfigError("Rae: " + std::string(name) + " has " + std::to_string(values->size()) + " values, but must have one, or one for each of " +
                        std::to_string(c.encoder.channels) + " channels");
  return c;
}

// Returns a tensor that broadcasts over images (B, channels, H, W).
Tensor per_channel(const std::vector<double>& values, DType type) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size()), 1, 1}).to(type);
}

}  // namespace

Var normalised(const Var& images, const RaeConfig& c) {
  if (c.image_mean.size() == 1 && c.image_std.size() == 1) return (images - c.image_mean[0]) / c.image_std[0];
  return (images - per_channel(c.image_mean, images.dtype())) / per_channel(c.image_std, images.dtype());
}

Var restored(const Var& images, const RaeConfig& c) {
  if (c.image_mean.size() == 1 && c.image_std.size() == 1) return images * c.image_std[0] + c.image_mean[0];
  return images * per_channel(c.image_std, images.dtype()) + per_channel(c.image_mean, images.dtype());
}

Tensor tokens_to_grid(const Tensor& tokens) {
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(tokens.dim(1)))));
  if (side * side != tokens.dim(1)) throw ShapeError("tokens_to_grid: " + std::to_string(tokens.dim(1)) + " tokens do not form a square grid");
  return tokens.transpose(1, 2).contiguous().reshape({tokens.dim(0), tokens.dim(2), side, side});
}

Tensor grid_to_tokens(const Tensor& latents) { return latents.flatten(2, 3).transpose(1, 2).contiguous(); }

Rae::Rae(const RaeConfig& c, std::uint64_t seed) : config(checked(c)), encoder(c.encoder, seed), decoder(c.decoder, seed) {}

Var Rae::encoder_input(const Var& images) const {
  const std::int64_t side = config.input_size;
  const bool fits = side == 0 || (images.dim(2) == side && images.dim(3) == side);
  return normalised(fits ? images : resize(images, side, side, Interpolation::bicubic), config);
}

Var Rae::tokens(const Var& images) const { return encoder(encoder_input(images)); }

Var Rae::pixels(const Var& latent_tokens) const { return restored(decoder(latent_tokens), config); }

Tensor Rae::encode(const Tensor& images) const {
  return in_blocks(images, [&](const Tensor& x) { return tokens_to_grid(tokens(x).value()); });
}

Tensor Rae::decode(const Tensor& latents) const {
  return in_blocks(latents, [&](const Tensor& z) { return clamp(pixels(grid_to_tokens(z)).value(), 0, 1); });
}

}  // namespace fm
