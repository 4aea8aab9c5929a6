#include "nn/backbones/dit_dh.h"

#include <fmt/format.h>

#include <algorithm>

#include "nn/layers/mlp.h"
#include "nn/models/presets.h"
#include "nn/models/published_weights.h"
#include "tensor/error.h"

namespace fm {
namespace {

// Blocks of DiT^DH: mfrae.md 4.3. The backbone's modulation is computed once per sample, the head's once per token (4.2, steps 4 and 8).
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

// Sizes as doubles, so that block_bytes cannot overflow. Its results are exact below 2^53.
struct BlockShape {
  double width, hidden, heads, tokens, modulated_rows;
};

constexpr double stream = 4;                        // bytes per element of the residual stream, which is f32 in both precisions

// Returns the bytes that a block keeps, including its input; `item` is the number of bytes per element of a branch. The statistics of softmax are f32.
double block_bytes(const BlockShape& b, double item) {
  const double branches = b.tokens * (6 * b.width + 2 * b.hidden) + 6 * b.modulated_rows * b.width;
  return branches * item + b.tokens * (b.width * stream + b.heads * 4);
}

bool is_second_time(const std::string& name) { return name.starts_with("r_embedder.") || name == "late_s"; }

}  // namespace

void DitDhBackbone::fit(DitDhConfig& config, const Modeled& samples) {
  take_input_shape(config, samples.shape, samples.source);
  if (samples.classes == 0) throw ConfigError("conditional = false: network dit_dh takes labels; set network = \"mlp\", or leave conditional out");
  config.classes = samples.classes;
}

void DitDhBackbone::take_size(DitDhConfig& config, std::string_view size) {
  DitDhConfig c = dit_dh(size);
  c.precision = config.precision, c.recompute = config.recompute;
  config = c;
}

void DitDhBackbone::complete(const DitDh& map, Weights& teacher) {
  const bool has_some = std::any_of(teacher.tensors.begin(), teacher.tensors.end(), [](const auto& entry) { return is_second_time(entry.first); }) ||
      std::any_of(teacher.unread.begin(), teacher.unread.end(), [](const UnreadEntry& entry) { return is_second_time(entry.name); });
  if (has_some) return;
  for (const auto& [key, t] : state_dict(map))
    if (is_second_time(key)) teacher.tensors.emplace_back(key, t.clone());
}

Weights DitDhBackbone::read(const std::string& where, const Warn& warn) { return load_part(where, weights_part::dit, warn); }

void DitDhBackbone::check(const Weights& weights, bool two_times, const std::string& role) { check_kind(weights, two_times, role); }

std::string DitDhBackbone::block_name(const DitDhConfig& config, std::int64_t number) {
  return number < config.depth ? "backbone blocks" : "head blocks";
}

std::string size_text(const DitDhConfig& c) {
  const std::string input = c.axes == 1 ? fmt::format("sequences {} in {} tokens, ", to_string(c.input_shape()), c.tokens()) : "";
  return fmt::format("DiT^DH {}x{} + {}x{}, {}{}", c.width, c.depth, c.head_width, c.head_depth, input,
                     c.splits_times() ? "flow map u(z, s, t), s in late blocks" : c.mean_flow ? "flow map u(z, s, t)" : "velocity v(z, t)");
}

// mfrae.md 4.2, 4.3, 4.5, 4.6.
CostTable cost_table(const DitDhConfig& config) {
  const DitDhConfig c = checked(config);
  const std::int64_t tokens = c.tokens(), values = c.token_values();
  const std::int64_t w = c.width, head = c.head_width, frequencies = 256;
  const auto time = [&](const char* name, std::int64_t times = 1) { return ModuleCost(name).values(frequencies).linear(2 * frequencies, w, times).linear(w, w, times); };
  CostTable table;
  if (c.position_embed) table.push_back(ModuleCost("pos_embed").values(tokens * w));
  table.push_back(ModuleCost("x_embedder").linear(values, head, tokens));
  table.push_back(ModuleCost("s_embedder").linear(values, w, tokens));
  if (w != head) table.push_back(ModuleCost("s_projector").linear(w, head, tokens));
  table.push_back(time("t_embedder", c.splits_times() ? 2 : 1));
  if (c.mean_flow && !c.late_s) table.push_back(time("r_embedder"));
  table.push_back(ModuleCost("y_embedder").values((c.classes + 1) * w));
  add_dit_blocks(table, c, 0, c.depth, w, c.heads, tokens, 1);
  add_dit_blocks(table, c, c.depth, c.head_depth, head, c.head_heads, tokens, tokens);
  table.push_back(ModuleCost("final_layer.norm_final").values(head));
  table.push_back(ModuleCost("final_layer.adaLN_modulation").linear(head, 2 * head, tokens));
  table.push_back(ModuleCost("final_layer.linear").linear(head, values, tokens));
  return table;
}

ActivationBytes activation_bytes(const DitDhConfig& config, std::int64_t batch) {
  const DitDhConfig c = checked(config);
  const auto real = [](std::int64_t n) { return static_cast<double>(n); };
  const double rows = real(batch), tokens = real(c.tokens()) * rows;
  const double item = c.precision == "bf16" ? 2 : 4, width = real(c.width), head_width = real(c.head_width);
  const BlockShape backbone{width, real(SwiGluFfn::hidden_width(c.width, c.mlp_ratio)), real(c.heads), tokens, rows};
  const BlockShape head{head_width, real(SwiGluFfn::hidden_width(c.head_width, c.mlp_ratio)), real(c.head_heads), tokens, tokens};
  ActivationBytes a;
  a.one_block = bounded_bytes(std::max(block_bytes(backbone, item), block_bytes(head, item)));
  const auto kept = [&](const BlockShape& b) { return c.recompute ? b.tokens * b.width * stream : block_bytes(b, item); };
  const double pixels = tokens * real(c.token_values());
  // Kept around the blocks: the latent as tokens; s + te before and after its SiLU; the projected condition before and after its SiLU; the final
  // layer's input, shift and scale.
  const double around = pixels + tokens * (width + (c.width == c.head_width ? 3 : 4) * head_width);
  a.kept = bounded_bytes(real(c.depth) * kept(backbone) + real(c.head_depth) * kept(head) + around * item + tokens * (width + head_width) * stream +
                   2 * pixels * 4);              // the residual of the output, and the slope of its square
  return a;
}

}  // namespace fm
