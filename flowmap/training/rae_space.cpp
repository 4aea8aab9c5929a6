#include "flowmap/training/rae_space.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nn/loaded.h"
#include "tensor/error.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

constexpr double variance_floor = 1e-5;            // the value in the published code

Shape latent_shape(const RaeDecoderConfig& c) { return {c.latent_channels, c.latent_size, c.latent_size}; }

std::string preprocessing(const RaeConfig& c) {
  return fmt::format("input size {}, mean {}, std {}", c.input_size, fmt::join(c.image_mean, " "), fmt::join(c.image_std, " "));
}

}  // namespace

LatentCoder rae_coder(std::shared_ptr<const Rae> rae) {
  LatentCoder coder{.name = "rae", .shape = latent_shape(rae->config.decoder)};
  coder.encoder = [rae] { return Checksums{{"encoder", checksum(state_dict(rae->encoder))}}; };
  coder.preprocessing = preprocessing(rae->config);
  coder.decoder = [rae] { return with_precision(checksum(state_dict(rae->decoder)), rae->config.decoder.precision); };
  coder.weights = [rae] { return checksum(state_dict(*rae)); };
  coder.variance_floor = variance_floor;
  coder.encode = [rae](const Tensor& images) { return rae->encode(images); };
  coder.decode = [rae](const Tensor& raw) { return rae->decode(raw); };
  return coder;
}

LatentCoder rae_coder(std::shared_ptr<const RaeDecoder> decoder, RaeConfig pixels) {
  LatentCoder coder{.name = "rae", .shape = latent_shape(decoder->config)};
  coder.decoder = coder.weights = [decoder] { return with_precision(checksum(state_dict(*decoder)), decoder->config.precision); };
  coder.variance_floor = variance_floor;
  coder.encode = [](const Tensor&) -> Tensor { throw Error("this latent space has only a decoder: it cannot encode"); };
  coder.decode = [decoder = std::move(decoder), pixels = std::move(pixels)](const Tensor& raw) {
    const PauseTape pause;
    return clamp(restored((*decoder)(grid_to_tokens(raw)), pixels).value(), 0, 1);
  };
  return coder;
}

LatentSpace rae_space(std::shared_ptr<const Rae> rae, LatentStats statistics) {
  if (!statistics.defined()) throw Error("rae_space: there are no statistics of latents; load or compute them first");
  return LatentSpace(rae_coder(std::move(rae)), std::move(statistics));
}

}  // namespace fm
