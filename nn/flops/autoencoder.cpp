#include "nn/flops/autoencoder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "tensor/error.h"

namespace fm {

std::string size_text(const VitEncoderConfig& c) { return fmt::format("ViT {}x{}, patch {}", c.width, c.depth, c.patch_size); }

std::string size_text(const AutoencoderKLConfig& c) {
  return fmt::format("KL autoencoder {}, {} channels, factor {}", fmt::join(c.widths, "-"), c.latent_channels, c.factor());
}

std::string size_text(const RaeDecoderConfig& c) { return fmt::format("RAE decoder {}x{}, patch {}", c.width, c.depth, c.patch_size); }

// mfrae.md 1.3, 1.4. The class token and the registers go through the layers but not through the patch embedding.
CostTable cost_table(const VitEncoderConfig& config, std::int64_t image_size) {
  const VitEncoderConfig c = checked_config(config, "VitEncoder");
  if (image_size < 1 || image_size % c.patch_size != 0)
    throw ConfigError("VitEncoder: image size " + std::to_string(image_size) + " is not a multiple of the patch size " +
                      std::to_string(c.patch_size));
  const bool siglip = c.kind == "siglip2";
  const std::int64_t side = image_size / c.patch_size, patches = side * side;
  const std::int64_t tokens = patches + (c.has_cls() ? 1 : 0) + c.register_tokens();
  const std::string blocks = siglip ? "encoder.layers" : "encoder.layer";
  const auto layers = [&](const char* part) { return ModuleCost(block_range(blocks, 0, c.depth, part)); };
  const char* norms = siglip ? ".layer_norm" : c.kind == "mae" ? ".layernorm" : ".norm";
  CostTable table;
  if (c.has_cls()) table.push_back(ModuleCost("embeddings.cls_token").values(c.width));
  if (c.is_dino()) table.push_back(ModuleCost("embeddings.mask_token").values(c.width));
  if (c.register_tokens() > 0) table.push_back(ModuleCost("embeddings.register_tokens").values(c.register_tokens() * c.width));
  table.push_back(ModuleCost(siglip ? "embeddings.position_embedding." : "embeddings.position_embeddings").values(c.positions() * c.width));
  const char* patch = siglip ? "embeddings.patch_embedding." : "embeddings.patch_embeddings";
  table.push_back(ModuleCost(patch).conv(c.channels, c.width, c.patch_size, patches));
  table.push_back(layers(norms).values(4 * c.width).times(c.depth));
  const char* attention = siglip ? ".self_attn" : ".attention";
  table.push_back(layers(attention).linear(c.width, c.width, tokens).times(4).attention(tokens, c.width).times(c.depth));
  if (c.kind == "mae") {
    table.push_back(layers(".intermediate").linear(c.width, c.mlp_width, tokens).times(c.depth));
    table.push_back(layers(".output").linear(c.mlp_width, c.width, tokens).times(c.depth));
  } else {
    table.push_back(layers(".mlp").linear(c.width, c.mlp_width, tokens).linear(c.mlp_width, c.width, tokens).times(c.depth));
  }
  if (c.has_layer_scale()) table.push_back(layers(".layer_scale").values(2 * c.width).times(c.depth));
  if (c.affine_norm) table.push_back(ModuleCost(siglip ? "post_layernorm" : "layernorm").values(2 * c.width));
  return table;
}

// mfrae.md 2. The decoder predicts pixels for the class token too. This row is dropped, but it is computed, so it is counted.
CostTable cost_table(const RaeDecoderConfig& config) {
  const RaeDecoderConfig c = checked_config(config, "RaeDecoder");
  const std::int64_t latent = c.latent_size * c.latent_size, tokens = latent + 1, w = c.width;
  const auto layers = [&](const char* part) { return ModuleCost(block_range("decoder_layers", 0, c.depth, part)); };
  CostTable table;
  table.push_back(ModuleCost("decoder_pos_embed").values(tokens * w));
  table.push_back(ModuleCost("trainable_cls_token").values(w));
  table.push_back(ModuleCost("decoder_embed").linear(c.latent_channels, w, latent));
  table.push_back(layers(".attention").linear(w, w, tokens).times(4).attention(tokens, w).times(c.depth));
  table.push_back(layers(".intermediate").linear(w, c.mlp_width, tokens).times(c.depth));
  table.push_back(layers(".output").linear(c.mlp_width, w, tokens).times(c.depth));
  table.push_back(layers(".layernorm").values(4 * w).times(c.depth));
  table.push_back(ModuleCost("decoder_norm").values(2 * w));
  table.push_back(ModuleCost("decoder_pred").linear(w, c.patch_size * c.patch_size * c.image_channels, tokens));
  return table;
}

namespace {

std::int64_t latent_size(const AutoencoderKLConfig& c, std::int64_t image_size) {
  if (image_size < 1 || image_size % c.factor() != 0)
    throw ConfigError(fmt::format("AutoencoderKL: image size {} is not a multiple of {}", image_size, c.factor()));
  return image_size / c.factor();
}

// norm, 3x3, norm, 3x3; if the width changes, a 1x1 convolution in the skip connection.
void add_resnet(ModuleCost& part, std::int64_t in, std::int64_t out, std::int64_t places) {
  part.values(2 * in).conv(in, out, 3, places).values(2 * out).conv(out, out, 3, places);
  if (in != out) part.conv(in, out, 1, places);
}

void add_middle(CostTable& table, const std::string& part, std::int64_t width, std::int64_t places) {
  ModuleCost resnets(part + ".mid_block.resnets"), attention(part + ".mid_block.attentions");
  for (int i = 0; i < 2; ++i) add_resnet(resnets, width, width, places);
  for (int i = 0; i < 4; ++i) attention.linear(width, width, places);                      // q, k, v, out
  table.push_back(resnets);
  table.push_back(attention.values(2 * width).attention(places, width));
}

// `in` becomes the level's width. Returns the resnets of a level.
ModuleCost level_resnets(const std::string& name, std::int64_t& in, std::int64_t width, std::int64_t count, std::int64_t places) {
  ModuleCost resnets(name + ".resnets");
  for (std::int64_t i = 0; i < count; ++i) {
    add_resnet(resnets, in, width, places);
    in = width;
  }
  return resnets;
}

}  // namespace

CostTable encoder_costs(const AutoencoderKLConfig& config, std::int64_t image_size) {
  const AutoencoderKLConfig c = checked_config(config, "AutoencoderKL");
  std::int64_t side = latent_size(c, image_size) * c.factor(), width = c.widths.front();
  CostTable table{ModuleCost("encoder.conv_in").conv(c.image_channels, width, 3, side * side)};
  for (std::size_t level = 0; level < c.widths.size(); ++level) {
    const std::string name = "encoder.down_blocks." + std::to_string(level);
    table.push_back(level_resnets(name, width, c.widths[level], c.resnets, side * side));
    if (level + 1 == c.widths.size()) break;
    side /= 2;
    table.push_back(ModuleCost(name + ".downsamplers").conv(width, width, 3, side * side));
  }
  add_middle(table, "encoder", width, side * side);
  table.push_back(ModuleCost("encoder.conv_norm_out").values(2 * width));
  table.push_back(ModuleCost("encoder.conv_out").conv(width, 2 * c.latent_channels, 3, side * side));
  table.push_back(ModuleCost("quant_conv").conv(2 * c.latent_channels, 2 * c.latent_channels, 1, side * side));
  return table;
}

CostTable decoder_costs(const AutoencoderKLConfig& config, std::int64_t image_size) {
  const AutoencoderKLConfig c = checked_config(config, "AutoencoderKL");
  std::int64_t side = latent_size(c, image_size), width = c.widths.back();
  CostTable table{ModuleCost("post_quant_conv").conv(c.latent_channels, c.latent_channels, 1, side * side),
                  ModuleCost("decoder.conv_in").conv(c.latent_channels, width, 3, side * side)};
  add_middle(table, "decoder", width, side * side);
  for (std::size_t level = 0; level < c.widths.size(); ++level) {
    const std::string name = "decoder.up_blocks." + std::to_string(level);
    table.push_back(level_resnets(name, width, c.widths[c.widths.size() - 1 - level], c.resnets + 1, side * side));
    if (level + 1 == c.widths.size()) break;
    side *= 2;
    table.push_back(ModuleCost(name + ".upsamplers").conv(width, width, 3, side * side));
  }
  table.push_back(ModuleCost("decoder.conv_norm_out").values(2 * width));
  table.push_back(ModuleCost("decoder.conv_out").conv(width, c.image_channels, 3, side * side));
  return table;
}

}  // namespace fm
