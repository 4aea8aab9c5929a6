#include "nn/backbones/residual_mlp.h"

#include <fmt/format.h>

#include <algorithm>

namespace fm {

void ResidualMlpBackbone::fit(ResidualMlpConfig& config, const Modeled& samples) {
  config.dim = samples.shape.numel();
  config.classes = samples.classes;
}

void ResidualMlpBackbone::complete(const ResidualMlp& map, Weights& teacher) {
  const auto is_gap = [](const auto& entry) { return entry.first.starts_with("r_embedder."); };
  if (std::any_of(teacher.tensors.begin(), teacher.tensors.end(), is_gap)) return;
  for (const auto& entry : state_dict(map))
    if (is_gap(entry)) teacher.tensors.emplace_back(entry.first, Tensor::zeros(entry.second.shape(), entry.second.dtype(), entry.second.device()));
}

std::string size_text(const ResidualMlpConfig& c) {
  return fmt::format("residual MLP {}x{}, {}", c.width, c.depth, c.mean_flow ? "flow map u(z, s, t)" : "velocity v(z, t)");
}

CostTable cost_table(const ResidualMlpConfig& config) {
  const ResidualMlpConfig c = checked_config(config, "ResidualMlp");
  const std::int64_t w = c.width;
  const auto blocks = [&](const char* part) { return ModuleCost(block_range("blocks", 0, c.depth, part)); };
  CostTable table;
  table.push_back(ModuleCost("in").linear(c.dim, w, 1));
  table.push_back(ModuleCost("t_embedder").linear(2 * c.frequencies, w, 1));
  if (c.mean_flow) table.push_back(ModuleCost("r_embedder").linear(2 * c.frequencies, w, 1));
  if (c.classes > 0) table.push_back(ModuleCost("y_embedder").values((c.classes + 1) * w));
  table.push_back(blocks(".mlp").linear(w, w, 1).linear(w, w, 1).times(c.depth));
  table.push_back(blocks(".adaLN_modulation").linear(w, 3 * w, 1).times(c.depth));
  table.push_back(ModuleCost("adaLN_modulation").linear(w, 2 * w, 1));
  table.push_back(ModuleCost("out").linear(w, c.dim, 1));
  return table;
}

// Kept in each block: its input, the normalized input, 1 + scale, the modulated input, shift, scale and gate, the hidden layer before its SiLU, and the
// branch before its gate: 9 vectors of the block's width. The norm keeps 2 numbers per row.
ActivationBytes activation_bytes(const ResidualMlpConfig& config, std::int64_t rows) {
  const ResidualMlpConfig c = checked_config(config, "ResidualMlp");
  const auto real = [](std::int64_t n) { return static_cast<double>(n); };
  const double block = 9 * real(c.width) + 2, times = 2 * real(c.frequencies) * (c.mean_flow ? 2 : 1);
  const double around = real(c.dim) + 3 * times + 8 * real(c.width) + real(c.dim);
  ActivationBytes a;
  a.kept = bounded_bytes(4 * real(rows) * (real(c.depth) * block + around));
  a.one_block = bounded_bytes(4 * real(rows) * block);
  return a;
}

}  // namespace fm
