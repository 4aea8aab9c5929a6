#include "nn/models/rae_decoder.h"

#include "autodiff/rules/linear.h"
#include "nn/layers/patch.h"
#include "nn/layers/positions.h"

namespace fm {
namespace {

RaeDecoderConfig checked(const RaeDecoderConfig& config) {
  const RaeDecoderConfig c = checked_config(config, "RaeDecoder");
  if (c.width % 4 != 0) throw ConfigError("RaeDecoder: width = " + std::to_string(c.width) + " is not a multiple of 4, which its positions need");
  return c;
}

}  // namespace

RaeDecoder::RaeDecoder(const RaeDecoderConfig& c, std::uint64_t seed)
    : config(checked(c)),
      positions(make_parameter({1, c.latent_size * c.latent_size + 1, c.width})),
      cls_token(make_parameter({1, 1, c.width})),
      embed(c.latent_channels, c.width),
      norm(c.width, c.eps),
      predict(c.width, c.patch_size * c.patch_size * c.image_channels) {
  for (std::int64_t i = 0; i < c.depth; ++i) layers.emplace_back(c);
  reset_parameters(*this, seed);
}

void RaeDecoder::reset(const Init&) {
  fill(positions, 0);
  positions.value.slice(1, 1, positions.value.dim(1))
      .copy_from(sin_cos_positions(config.latent_size, config.latent_size, config.width).unsqueeze(0));
  fill(cls_token, 0);
}

Var RaeDecoder::rows(const Var& tokens) const {
  const std::int64_t n = config.latent_size * config.latent_size;
  if (tokens.rank() != 3 || tokens.dim(1) != n || tokens.dim(2) != config.latent_channels)
    throw ShapeError("RaeDecoder: tokens have shape " + to_string(tokens.shape()) + ", but must be (B, " + std::to_string(n) + ", " +
                     std::to_string(config.latent_channels) + ")");
  const DType type = block_type(config.precision, tokens), stream = tokens.dtype();
  const Var cls = expand(cast(cls_token, stream), {tokens.dim(0), 1, config.width});
  Var h = concat({cls, linear(cast(tokens, type), embed.weight, embed.bias, stream)}, 1) + cast(positions, stream);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const ModulePath path("decoder_layers." + std::to_string(i));
    h = layers[i](h, type);
  }
  return norm(h, type);
}

Var RaeDecoder::image_of(const Var& rows) const {
  const std::int64_t n = config.latent_size * config.latent_size;
  const DType stream = rows.dtype() == DType::bf16 ? DType::f32 : rows.dtype();
  const Var patches = slice(linear(rows, predict.weight, predict.bias, stream), 1, 1, n + 1);
  return unpatchify(patches, config.latent_size, config.latent_size, config.patch_size);
}

}  // namespace fm
