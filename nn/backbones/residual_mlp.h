// ResidualMlp as an entry of the list of networks (flowmap/training/backbones.h), and the properties that follow from its config alone, as in flow_mlp.h.
#pragma once

#include <string_view>

#include "nn/backbones/modeled.h"
#include "nn/checkpoint.h"
#include "nn/flops/activations.h"
#include "nn/flops/count.h"
#include "nn/models/residual_mlp.h"

namespace fm {

struct ResidualMlpBackbone {
  using Model = ResidualMlp;
  static constexpr std::string_view name = "residual_mlp", section = "residual_mlp";
  static constexpr std::string_view says = "MLP of residual blocks for vectors, for teacher and student; data and stage set dim, classes and mean_flow";

  static void fit(ResidualMlpConfig& config, const Modeled& samples);
  // Completes a teacher's weights for a new flow map with zeros in r_embedder, whose input is t - s. The map then begins as the teacher's velocity.
  static void complete(const ResidualMlp& map, Weights& teacher);
};

std::string size_text(const ResidualMlpConfig& config);   // "residual MLP 256x4, velocity v(z, t)"
CostTable cost_table(const ResidualMlpConfig& config);    // cost of one call for one sample. ConfigError if the config breaks a rule
ActivationBytes activation_bytes(const ResidualMlpConfig& config, std::int64_t rows);

}  // namespace fm
