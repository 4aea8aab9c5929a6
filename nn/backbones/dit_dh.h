// DiT^DH as an entry of the list of networks (flowmap/training/backbones.h), and the properties that follow from its config alone: its size in words,
// its numbers of parameters and multiply-adds (nn/flops/count.h), and the memory of a step (nn/flops/activations.h). A tape keeps
//
//   for each block and token:     the block's input, W values of the residual stream in f32; 6 W + 2 H values for q | k | v, the output of attention,
//                                 the outputs of both branches before their gates, and the two halves of SwiGLU. (The stream between the branches,
//                                 modulated norms and gated products are recomputed.)
//   for each row of a condition:  6 W values (shifts, scales and gates)
//   for each token and head:      one value (the logarithm of softmax's sum)
//
// with the width W and the hidden width H of the MLP.
#pragma once

#include <string_view>

#include "nn/backbones/modeled.h"
#include "nn/checkpoint.h"
#include "nn/flops/activations.h"
#include "nn/flops/count.h"
#include "nn/models/dit_dh.h"

namespace fm {

struct DitDhBackbone {
  using Model = DitDh;
  static constexpr std::string_view name = "dit_dh", section = "dit";
  static constexpr std::string_view says = "diffusion transformer, for teacher and student";

  // ConfigError unless samples have labels and are (channels, length) or (channels, height, width).
  static void fit(DitDhConfig& config, const Modeled& samples);
  // Takes the widths, depths and heads of a published size: S, B, L or XL. The settings of the computation (precision, recompute) stay as they are.
  static void take_size(DitDhConfig& config, std::string_view size);
  // Completes a teacher's weights for a new flow map: adds the map's initial values of R(t - s), or with late_s the tensor late_s that marks a flow map.
  // Does nothing if the file already has such a tensor, even an unreadable one.
  static void complete(const DitDh& map, Weights& teacher);
  static Weights read(const std::string& where, const Warn& warn);   // accepts the tensor names of all published files
  // FileError unless the weights are those of a flow map (two_times) or of a velocity.
  static void check(const Weights& weights, bool two_times, const std::string& role);
  static std::string block_name(const DitDhConfig& config, std::int64_t number);           // "backbone blocks", "head blocks"
};

// "DiT^DH 128x4 + 128x2, velocity v(z, t)": width x depth of backbone and head. For sequences also their shape and the number of tokens.
std::string size_text(const DitDhConfig& config);
CostTable cost_table(const DitDhConfig& config);                     // cost of one call for one sample. ConfigError if the config breaks a rule
ActivationBytes activation_bytes(const DitDhConfig& config, std::int64_t rows);

}  // namespace fm
