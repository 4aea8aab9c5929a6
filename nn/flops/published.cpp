#include "nn/flops/published.h"

#include "tensor/error.h"

namespace fm {
namespace {

std::int64_t latent_of(std::int64_t image_size) {
  if (image_size < 8 || image_size % 8 != 0)
    throw ConfigError("SD-VAE: image size " + std::to_string(image_size) + " is not a multiple of 8");
  return image_size / 8;
}

// norm, 3x3, norm, 3x3; if the width changes, a 1x1 convolution in the skip connection.
void add_resnet(ModuleCost& part, std::int64_t in, std::int64_t out, std::int64_t places) {
  part.values(2 * in).conv(in, out, 3, places).values(2 * out).conv(out, out, 3, places);
  if (in != out) part.conv(in, out, 1, places);
}

}  // namespace

DitShape dit_xl_2(std::int64_t image_size) {
  DitShape shape;
  shape.latent_size = latent_of(image_size);
  return shape;
}

VaeDecoderShape sd_vae_decoder(std::int64_t image_size) {
  VaeDecoderShape shape;
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

CostTable cost_table(const VaeDecoderShape& s) {
  std::int64_t side = s.latent_size, places = side * side, width = s.widths.front();
  CostTable table{ModuleCost("post_quant_conv").conv(s.latent_channels, s.latent_channels, 1, places),
                  ModuleCost("decoder.conv_in").conv(s.latent_channels, width, 3, places)};
  ModuleCost middle("decoder.mid_block.resnets");
  for (int i = 0; i < 2; ++i) add_resnet(middle, width, width, places);
  table.push_back(middle);
  ModuleCost attention("decoder.mid_block.attentions");
  for (int i = 0; i < 4; ++i) attention.linear(width, width, places);  // q, k, v, out
  table.push_back(attention.values(2 * width).attention(places, width));
  for (std::size_t level = 0; level < s.widths.size(); ++level) {
    const std::string name = "decoder.up_blocks." + std::to_string(level);
    ModuleCost resnets(name + ".resnets");
    for (std::int64_t i = 0; i < s.resnets; ++i) {
      add_resnet(resnets, width, s.widths[level], places);
      width = s.widths[level];
    }
    table.push_back(resnets);
    if (level + 1 == s.widths.size()) break;
    side *= 2, places = side * side;
    table.push_back(ModuleCost(name + ".upsamplers").conv(width, width, 3, places));
  }
  table.push_back(ModuleCost("decoder.conv_norm_out").values(2 * width));
  table.push_back(ModuleCost("decoder.conv_out").conv(width, s.image_channels, 3, places));
  return table;
}

}  // namespace fm
