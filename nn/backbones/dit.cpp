#include "nn/backbones/dit.h"

#include <fmt/format.h>

#include <algorithm>

#include "nn/models/dit_weights.h"
#include "nn/models/presets.h"
#include "nn/models/published_weights.h"
#include "tensor/error.h"

namespace fm {
namespace {

bool is_of_second_time(const std::string& name) { return name.starts_with("r_embedder."); }

}  // namespace

void DitBackbone::fit(DitConfig& config, const Modeled& samples) {
  const Shape& shape = samples.shape;
  if (shape.rank() != 3 || shape[1] != shape[2])
    throw ConfigError(fmt::format("network {} models samples [channels, side, side]; those of {} are {}: set network = \"{}\"", name, samples.source,
                                  to_string(shape), shape.rank() == 2 || shape.rank() == 3 ? "dit_dh" : "mlp"));
  if (shape[1] % config.patch_size != 0)
    throw ConfigError(fmt::format("{}.patch_size {} does not divide samples {} of {}: set it to a divisor of {}", section, config.patch_size, to_string(shape),
                                  samples.source, shape[1]));
  if (samples.classes == 0)
    throw ConfigError(fmt::format("conditional = false: network {} takes labels; set network = \"mlp\", or leave conditional out", name));
  config.channels = shape[0], config.input_size = shape[1], config.classes = samples.classes;
}

void DitBackbone::take_size(DitConfig& config, std::string_view size) {
  const DitConfig published = dit(size);
  config.width = published.width, config.depth = published.depth, config.heads = published.heads, config.patch_size = published.patch_size;
  config.mlp_ratio = published.mlp_ratio;
}

void DitBackbone::complete(const Dit& map, Weights& teacher) {
  const bool has_some = std::any_of(teacher.tensors.begin(), teacher.tensors.end(), [](const auto& entry) { return is_of_second_time(entry.first); }) ||
      std::any_of(teacher.unread.begin(), teacher.unread.end(), [](const UnreadEntry& entry) { return is_of_second_time(entry.name); });
  if (has_some) return;
  for (const auto& [key, t] : state_dict(map))
    if (is_of_second_time(key)) teacher.tensors.emplace_back(key, key.starts_with("r_embedder.mlp.2.") ? Tensor::zeros(t.shape(), t.dtype(), t.device()) : t.clone());
}

void DitBackbone::take_weights(DitConfig& config, const Weights& weights) { config.class_token = class_token_of(weights.tensors); }

std::string DitBackbone::leave_out(Weights& weights) {
  const std::int64_t numbers = class_token_of(weights.tensors);
  if (numbers == 0) return "";
  weights.tensors = without_class_token(weights.tensors);
  return fmt::format("{}: a REG, whose class token of {} numbers this network lacks: the other layers are a start, not yet a velocity of the latent alone", weights.file.string(),
                     numbers);
}

Weights DitBackbone::read(const DitConfig& config, const std::string& where, const Warn& warn) {
  const DitReading reading{config.origin, config.input_size, config.time_scale};
  Weights weights = load_dit(where, reading, warn);
  if (dit_config_of(weights, reading).shared_times)
    throw FileError(fmt::format("{}: a MeanFlow with one embedding for both times, made by an early version of its code. A network that is trained here has an embedding of "
                                "its own for t - s. The file can only be sampled: flowmap_sample --dit FILE --vae FILE --origin mean_flow", weights.file.string()));
  return weights;
}

void DitBackbone::check(const Weights& weights, bool two_times, const std::string& role) { check_kind(weights, two_times, role); }

std::string size_text(const DitConfig& c) {
  const std::string token = c.class_token > 0 ? fmt::format("class token of {} numbers, ", c.class_token) : "";
  return fmt::format("DiT {}x{}, patch {}, {}{}", c.width, c.depth, c.patch_size, token, c.mean_flow ? "flow map u(z, s, t)" : "velocity v(z, t)");
}

// sdvae-sit.md 2.1, 2.2, 3.1. Norms have no parameters. Modulation is computed once for each sample.
CostTable cost_table(const DitConfig& config) {
  const DitConfig c = checked(config);
  const std::int64_t tokens = c.tokens(), w = c.width, patch = c.patch_size * c.patch_size;
  const auto blocks = [&](const char* part) { return ModuleCost(block_range("blocks", 0, c.depth, part)); };
  const auto time = [&](const char* name) { return ModuleCost(name).linear(2 * TimestepEmbedding::count, w, 1).linear(w, w, 1); };
  CostTable table{ModuleCost("pos_embed").values(tokens * w), ModuleCost("x_embedder").linear(c.channels * patch, w, c.patches()), time("t_embedder")};
  if (c.mean_flow && !c.shared_times) table.push_back(time("r_embedder"));
  table.push_back(ModuleCost("y_embedder").values((c.classes + 1) * w));
  table.push_back(blocks(".attn").linear(w, 3 * w, tokens).linear(w, w, tokens).attention(tokens, w).times(c.depth));
  table.push_back(blocks(".mlp").linear(w, c.hidden_width(), tokens).linear(c.hidden_width(), w, tokens).times(c.depth));
  table.push_back(blocks(".adaLN_modulation").linear(w, 6 * w, 1).times(c.depth));
  table.push_back(ModuleCost("final_layer.linear").linear(w, patch * c.out_channels(), c.patches()));
  if (c.class_token > 0) table.push_back(ModuleCost("final_layer.linear_cls").linear(w, c.class_token, 1));
  table.push_back(ModuleCost("final_layer.adaLN_modulation").linear(w, 2 * w, 1));
  if (c.class_token > 0) {
    table.push_back(ModuleCost("cls_projectors2").linear(c.class_token, w, 1));
    table.push_back(ModuleCost("wg_norm").values(2 * w));
  }
  return table;
}

ActivationBytes activation_bytes(const DitConfig& config, std::int64_t batch) {
  const DitConfig c = checked(config);
  const auto real = [](std::int64_t n) { return static_cast<double>(n); };
  const double rows = real(batch), tokens = real(c.tokens()) * rows, width = real(c.width), hidden = real(c.hidden_width());
  const double item = c.precision == "bf16" ? 2 : 4, stream = 4;         // bytes of an element inside a block, and in the residual stream
  const double input = tokens * width * stream;
  const double block = input + (tokens * (6 * width + hidden) + 6 * rows * width) * item + tokens * real(c.heads) * 8;
  const double pixels = tokens * real(c.channels * c.patch_size * c.patch_size);
  const double embedding = 2 * real(TimestepEmbedding::count) + 2 * width;         // of a time: input of its MLP, and the SiLU's input and output
  // Kept around the blocks for each sample: embeddings, their sum, its SiLU, and shift and scale of the final layer.
  const double conditions = rows * ((embedding * (c.mean_flow ? 2 : 1) + width) * 4 + 3 * width * item);
  ActivationBytes a;
  // The backward pass of a block also holds the output of the GELU and the gradient of its input.
  a.one_block = bounded_bytes(block + 2 * tokens * hidden * item);
  // Kept for each token: the latent, the last block's output, and the residual of the loss.
  a.kept = bounded_bytes(real(c.depth) * (c.recompute ? input : block) + pixels * (item + 4) + input + conditions);
  return a;
}

}  // namespace fm
