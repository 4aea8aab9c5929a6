// FlowMlp as an entry of the list of networks (flowmap/training/backbones.h), and properties that follow from its config alone: its size in words, its
// parameters and products (nn/flops/count.h), and the memory of a step (nn/flops/activations.h): for each sample the first layer's input, and each
// hidden layer before and after its SiLU.
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
  static constexpr std::string_view says = "MLP for points and short vectors, teacher and student; dim, classes and mean_flow follow from data and stage";

  static void fit(FlowMlpConfig& config, const Modeled& samples);
  // A flow map that begins with a teacher's weights has zero weights for phi(t - s), the last part of the first layer's input: it begins as
  // the teacher's velocity.
  static void complete(const FlowMlp& map, Weights& teacher);
};

std::string size_text(const FlowMlpConfig& config);       // "MLP 128x3, velocity v(z, t)"
CostTable cost_table(const FlowMlpConfig& config);        // of one sample, one call. ConfigError when the config breaks a rule
ActivationBytes activation_bytes(const FlowMlpConfig& config, std::int64_t rows);

}  // namespace fm
