// FlowMlp as an entry of the list of networks (flowmap/training/backbones.h), and the properties that follow from its config alone: its size in words,
// its numbers of parameters and multiply-adds (nn/flops/count.h), and the memory of a step (nn/flops/activations.h). For each sample a tape keeps the
// input of the first layer, and each hidden layer before and after its SiLU.
#pragma once

#include <string_view>

#include "nn/backbones/modeled.h"
#include "nn/checkpoint.h"
#include "nn/flops/activations.h"
#include "nn/flops/count.h"
#include "nn/models/flow_mlp.h"

namespace fm {

struct FlowMlpBackbone {
  using Model = FlowMlp;
  static constexpr std::string_view name = "mlp", section = "mlp";
  static constexpr std::string_view says = "MLP for points and short vectors, for teacher and student; data and stage set dim, classes and mean_flow";

  static void fit(FlowMlpConfig& config, const Modeled& samples);
  // Completes a teacher's weights for a new flow map with zero weights for phi(t - s), the last part of the first layer's input. The map then begins
  // as the teacher's velocity.
  static void complete(const FlowMlp& map, Weights& teacher);
};

std::string size_text(const FlowMlpConfig& config);       // "MLP 128x3, velocity v(z, t)"
CostTable cost_table(const FlowMlpConfig& config);        // cost of one call for one sample. ConfigError if the config breaks a rule
ActivationBytes activation_bytes(const FlowMlpConfig& config, std::int64_t rows);

}  // namespace fm
