#include "nn/flops/count.h"

#include <algorithm>

#include "nn/layers/mlp.h"
#include "tensor/error.h"

namespace fm {
namespace {

// Blocks of DiT^DH: mfrae.md 4.3. The backbone's modulation is computed once a sample, the head's once a token (4.2, steps 4 and 8).
void add_dit_blocks(CostTable& table, const DitDhConfig& c, std::int64_t first, std::int64_t count, std::int64_t width, std::int64_t heads,
                    std::int64_t tokens, std::int64_t modulated_rows) {
  const std::int64_t hidden = SwiGluFfn::hidden_width(width, c.mlp_ratio);
  const auto part = [&](const char* name) { return ModuleCost(block_range("blocks", first, count, name)); };
  table.push_back(part(".norm").values(2 * width).times(count));
  ModuleCost attention = part(".attn").linear(width, 3 * width, tokens).linear(width, width, tokens).attention(tokens, width);
  if (c.qk_norm) attention.values(2 * (width / heads));
  table.push_back(attention.times(count));
  table.push_back(part(".mlp").linear(width, 2 * hidden, tokens).linear(hidden, width, tokens).times(count));
  table.push_back(part(".adaLN_modulation").linear(width, 6 * width, modulated_rows).times(count));
}

}  // namespace

ModuleCost& ModuleCost::values(std::int64_t count) {
  parameters += count;
  return *this;
}

ModuleCost& ModuleCost::linear(std::int64_t in, std::int64_t out, std::int64_t rows) { return conv(in, out, 1, rows); }

ModuleCost& ModuleCost::conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t places) {
  const std::int64_t weight = in * out * kernel * kernel;
  parameters += weight + out;
  macs_linear += weight * places;
  return *this;
}

ModuleCost& ModuleCost::attention(std::int64_t tokens, std::int64_t width) {
  macs_attention += 2 * tokens * tokens * width;
  return *this;
}

ModuleCost& ModuleCost::times(std::int64_t count) {
  parameters *= count;
  macs_linear *= count;
  macs_attention *= count;
  return *this;
}

ModuleCost total(const CostTable& modules) {
  ModuleCost sum("total");
  for (const ModuleCost& m : modules) {
    sum.parameters += m.parameters;
    sum.macs_linear += m.macs_linear;
    sum.macs_attention += m.macs_attention;
  }
  return sum;
}

std::string block_range(const std::string& blocks, std::int64_t first, std::int64_t count, const std::string& part) {
  const std::string last = count > 1 ? "-" + std::to_string(first + count - 1) : "";
  return blocks + "." + std::to_string(first) + last + part;
}

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

// mfrae.md 2. Pixels are predicted for the class token too, and that row is dropped: it is computed, so it is counted.
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

// mfrae.md 4.2, 4.3, 4.5, 4.6.
CostTable cost_table(const DitDhConfig& config) {
  const DitDhConfig c = checked_config(config, "DitDh");
  const std::int64_t side = c.input_size / c.patch_size, tokens = side * side;
  const std::int64_t w = c.width, head = c.head_width, frequencies = 256;
  const auto time = [&](const char* name) { return ModuleCost(name).values(frequencies).linear(2 * frequencies, w, 1).linear(w, w, 1); };
  CostTable table;
  if (c.position_embed) table.push_back(ModuleCost("pos_embed").values(tokens * w));
  table.push_back(ModuleCost("x_embedder").conv(c.channels, head, c.patch_size, tokens));
  table.push_back(ModuleCost("s_embedder").conv(c.channels, w, c.patch_size, tokens));
  if (w != head) table.push_back(ModuleCost("s_projector").linear(w, head, tokens));
  table.push_back(time("t_embedder"));
  if (c.mean_flow) table.push_back(time("r_embedder"));
  table.push_back(ModuleCost("y_embedder").values((c.classes + 1) * w));
  add_dit_blocks(table, c, 0, c.depth, w, c.heads, tokens, 1);
  add_dit_blocks(table, c, c.depth, c.head_depth, head, c.head_heads, tokens, tokens);
  table.push_back(ModuleCost("final_layer.norm_final").values(head));
  table.push_back(ModuleCost("final_layer.adaLN_modulation").linear(head, 2 * head, tokens));
  table.push_back(ModuleCost("final_layer.linear").linear(head, c.channels * c.patch_size * c.patch_size, tokens));
  return table;
}

CostTable cost_table(const FlowMlpConfig& config) {
  const FlowMlpConfig c = checked_config(config, "FlowMlp");
  CostTable table;
  table.push_back(ModuleCost("in").linear(c.inputs(), c.width, 1));
  if (c.depth > 1) table.push_back(ModuleCost("hidden").linear(c.width, c.width, 1).times(c.depth - 1));
  table.push_back(ModuleCost("out").linear(c.width, c.dim, 1));
  if (c.classes > 0) table.push_back(ModuleCost("y_embedder").values((c.classes + 1) * c.width));
  return table;
}

}  // namespace fm
