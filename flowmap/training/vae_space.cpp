#include "flowmap/training/vae_space.h"

#include <fmt/format.h>

#include <cmath>

#include "autodiff/tape.h"
#include "nn/loaded.h"
#include "nn/models/autoencoder_kl_tiles.h"
#include "tensor/error.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"

namespace fm {
namespace {

// The checksum of the half of the model that makes latents, or of the half that makes images.
std::string half_checksum(const AutoencoderKL& vae, const char* network, const char* projection) {
  NamedTensors half;
  for (auto& [name, value] : state_dict(vae))
    if (name.starts_with(network) || name.starts_with(projection)) half.emplace_back(name, value);
  return checksum(half);
}

}  // namespace

LatentCoder vae_coder(std::shared_ptr<const AutoencoderKL> vae, std::int64_t side, std::int64_t tile) {
  const AutoencoderKLConfig& c = vae->config;
  if (side % c.factor() != 0)
    throw ShapeError(fmt::format("vae_coder: images of {} pixels a side, but a latent's element covers {}: choose a multiple", side, c.factor()));
  LatentCoder coder{.name = "vae", .shape = {c.latent_channels, side / c.factor(), side / c.factor()}, .posterior = true};
  coder.preprocessing = "pixels in [-1, 1], mean and deviation";
  coder.encoder = [vae] { return Checksums{{"vae encoder", half_checksum(*vae, "encoder.", "quant_conv.")}}; };
  coder.decoder = [vae] { return with_precision(half_checksum(*vae, "decoder.", "post_quant_conv."), vae->config.precision); };
  coder.weights = [vae] { return checksum(state_dict(*vae)); };
  coder.encode = [vae](const Tensor& images) {
    const PauseTape pause;
    const DiagonalGaussian posterior = vae->posterior(images * 2.0 - 1.0);
    return concat(std::vector<Tensor>{posterior.mean.value(), posterior.std().value()}, 1);
  };
  coder.decode = [vae, tile](const Tensor& raw) {
    const PauseTape pause;
    const Tensor pixels = tile > 0 ? decode_tiles(*vae, raw, {.tile = tile, .overlap = tile / 4}) : vae->decode(raw).value();
    return clamp(pixels * 0.5 + 0.5, 0, 1);
  };
  return coder;
}

LatentStats scaling_by(double scale, const Shape& latent) {
  return {Tensor::zeros(latent), Tensor::full(latent, 1 / (scale * scale)), 0};
}

LatentStats scaling_of_posteriors(const LatentStats& stored) {
  const std::int64_t channels = stored.variance.dim(0) / 2;
  const auto half = [&](const Tensor& of_all, int which) { return of_all.slice(0, which * channels, (which + 1) * channels).to(DType::f64); };
  const Tensor m = half(stored.mean, 0), deviation = half(stored.mean, 1);
  const Tensor squares = half(stored.variance, 0) + square(m) + half(stored.variance, 1) + square(deviation);      // E z^2 of each element
  const double variance = mean(squares).item() - std::pow(mean(m).item(), 2);
  if (!(variance > 0) || !std::isfinite(variance))
    throw ConfigError(fmt::format("the latents have variance {:.3g} over all their numbers; to scale them it must be positive: train the autoencoder again with "
                                  "another rate", variance));
  return scaling_by(1 / std::sqrt(variance), m.shape());
}

}  // namespace fm
