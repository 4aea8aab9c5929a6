#include "nn/models/rae_decoder.h"

#include "autodiff/rules/linear.h"
#include "nn/layers/patch.h"
#include "nn/layers/positions.h"

namespace fm {
namespace {

RaeDecoderConfig sized(std::int64_t width, std::int64_t depth, std::int64_t heads, std::int64_t mlp_width, std::int64_t latent_size) {
  RaeDecoderConfig c;
  c.width = width;
  c.depth = depth;
  c.heads = heads;
  c.mlp_width = mlp_width;
  c.latent_size = latent_size;
  return c;
}

}  // namespace

RaeDecoderConfig rae_decoder_b(std::int64_t latent_size) { return sized(768, 12, 12, 3072, latent_size); }
RaeDecoderConfig rae_decoder_l(std::int64_t latent_size) { return sized(1024, 24, 16, 4096, latent_size); }
RaeDecoderConfig rae_decoder_xl(std::int64_t latent_size) { return sized(1152, 28, 16, 4096, latent_size); }

RaeDecoder::RaeDecoder(const RaeDecoderConfig& c, std::uint64_t seed)
    : config(c),
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

Var RaeDecoder::operator()(const Var& tokens) const {
  const std::int64_t n = config.latent_size * config.latent_size;
  if (tokens.rank() != 3 || tokens.dim(1) != n || tokens.dim(2) != config.latent_channels)
    throw ShapeError("RaeDecoder: tokens " + to_string(tokens.shape()) + ", wanted (B, " + std::to_string(n) + ", " +
                     std::to_string(config.latent_channels) + ")");
  const Var cls = expand(cls_token, {tokens.dim(0), 1, config.width});
  Var h = concat({cls, embed(tokens)}, 1) + Var(positions);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const ModulePath path("decoder_layers." + std::to_string(i));
    h = layers[i](h);
  }
  const Var patches = slice(predict(norm(h)), 1, 1, n + 1);
  return unpatchify(patches, config.latent_size, config.latent_size, config.patch_size);
}

}  // namespace fm
