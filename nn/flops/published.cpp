#include "nn/flops/published.h"

#include "tensor/error.h"

namespace fm {
namespace {

std::int64_t latent_of(std::int64_t image_size) {
  if (image_size < 8 || image_size % 8 != 0)
    throw ConfigError("SD-VAE: image size " + std::to_string(image_size) + " is not a multiple of 8");
  return image_size / 8;
}

}  // namespace

DitShape dit_xl_2(std::int64_t image_size) {
  DitShape shape;
  shape.latent_size = latent_of(image_size);
  return shape;
}

// Norms have no parameters. The time embedding is 256 sines and cosines, followed by two layers. Modulation is computed once per sample.
CostTable cost_table(const DitShape& s) {
  if (s.latent_size % s.patch_size != 0)
    throw ConfigError("DiT: latent size " + std::to_string(s.latent_size) + " is not a multiple of the patch size " +
                      std::to_string(s.patch_size));
  const std::int64_t side = s.latent_size / s.patch_size, tokens = side * side, w = s.width, hidden = s.mlp_ratio * w;
  const auto blocks = [&](const char* part) { return ModuleCost(block_range("blocks", 0, s.depth, part)); };
  return {
      ModuleCost("pos_embed").values(tokens * w),
      ModuleCost("x_embedder").conv(s.channels, w, s.patch_size, tokens),
      ModuleCost("t_embedder").linear(256, w, 1).linear(w, w, 1),
      ModuleCost("y_embedder").values((s.classes + 1) * w),
      blocks(".attn").linear(w, 3 * w, tokens).linear(w, w, tokens).attention(tokens, w).times(s.depth),
      blocks(".mlp").linear(w, hidden, tokens).linear(hidden, w, tokens).times(s.depth),
      blocks(".adaLN_modulation").linear(w, 6 * w, 1).times(s.depth),
      ModuleCost("final_layer.adaLN_modulation").linear(w, 2 * w, 1),
      ModuleCost("final_layer.linear").linear(w, s.patch_size * s.patch_size * s.out_channels, tokens),
  };
}

}  // namespace fm
