#include "nn/backbones/flow_mlp.h"

#include <fmt/format.h>

#include <algorithm>

#include "tensor/ops/copy.h"

namespace fm {

void FlowMlpBackbone::fit(FlowMlpConfig& config, const Modeled& samples) {
  config.dim = samples.shape.numel();
  config.classes = samples.classes;
}

void FlowMlpBackbone::complete(const FlowMlp& map, Weights& teacher) {
  const auto stored = std::find_if(teacher.tensors.begin(), teacher.tensors.end(), [](const auto& entry) { return entry.first == "in.weight"; });
  const Tensor& wanted = map.in.weight.value;
  if (stored == teacher.tensors.end() || stored->second.rank() != 2 || stored->second.dim(0) != wanted.dim(0)) return;
  Tensor& weight = stored->second;
  const std::int64_t missing = wanted.dim(1) - weight.dim(1);
  if (missing != 2 * map.config.frequencies) return;
  weight = concat(std::vector<Tensor>{weight, Tensor::zeros({weight.dim(0), missing}, weight.dtype(), weight.device())}, 1);
}

std::string size_text(const FlowMlpConfig& c) {
  return fmt::format("MLP {}x{}, {}", c.width, c.depth, c.mean_flow ? "flow map u(z, s, t)" : "velocity v(z, t)");
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

ActivationBytes activation_bytes(const FlowMlpConfig& config, std::int64_t batch) {
  const FlowMlpConfig c = checked_config(config, "FlowMlp");
  const auto real = [](std::int64_t n) { return static_cast<double>(n); };
  ActivationBytes a;                     // the last term is the residual of the output
  a.kept = bounded_bytes(4 * real(batch) * (real(c.inputs()) + 2 * real(c.depth) * real(c.width) + real(c.dim)));
  return a;
}

}  // namespace fm
