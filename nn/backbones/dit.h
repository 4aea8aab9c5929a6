// The network of DiT, SiT and MeanFlow as an entry of the list of networks (flowmap/training/backbones.h), under the name of its use as a flow, and the
// properties that follow from its config alone: its size in words, its numbers of parameters and multiply-adds (nn/flops/count.h), and the memory of a
// step (nn/flops/activations.h). A class token counts as one token more. A tape keeps
//
//   for each block and token:     the block's input, W values of the residual stream in f32; 6 W + H values for q | k | v, the output of attention, the
//                                 outputs of both branches before their gates, and the input of the MLP's GELU. (The stream between the branches,
//                                 modulated norms and gated products are recomputed.)
//   for each block and sample:    6 W values (shifts, scales and gates)
//   for each token and head:      two values (maximum and sum of the softmax)
//
// with the width W and the hidden width H of the MLP.
#pragma once

#include <string_view>

#include "nn/backbones/modeled.h"
#include "nn/checkpoint.h"
#include "nn/flops/activations.h"
#include "nn/flops/count.h"
#include "nn/models/dit.h"

namespace fm {

struct DitBackbone {
  using Model = Dit;
  static constexpr std::string_view name = "sit", section = "sit";
  static constexpr std::string_view says = "the diffusion transformer of DiT and SiT, with two times that of MeanFlow, for teacher and student";

  // ConfigError unless samples have labels and are (channels, side, side).
  static void fit(DitConfig& config, const Modeled& samples);
  // Takes width, depth, heads and patch of a published size, such as XL/2. ConfigError for other names.
  static void take_size(DitConfig& config, std::string_view size);
  // Completes a teacher's weights for a new flow map with R(t - s), whose last layer is zero: the map begins as the teacher's velocity for every s. Does
  // nothing if the file already has such a tensor, even an unreadable one.
  static void complete(const Dit& map, Weights& teacher);
  // Takes what only the weights tell: the numbers of REG's class token.
  static void take_weights(DitConfig& config, const Weights& weights);
  // Leaves out REG's class token, for a start of a network without one, and returns what a log should say about it; "" if there is none.
  static std::string leave_out(Weights& weights);
  // Reads the published files of nn/models/dit_weights.h, with the config's origin and side of latents. FileError for a flow map with one embedding for
  // both times, which trainings cannot use.
  static Weights read(const DitConfig& config, const std::string& where, const Warn& warn);
  // FileError unless the weights are those of a flow map (two_times) or of a velocity.
  static void check(const Weights& weights, bool two_times, const std::string& role);
};

std::string size_text(const DitConfig& config);                        // "DiT 384x12, patch 2, velocity v(z, t)": width x depth
CostTable cost_table(const DitConfig& config);                         // cost of one call for one sample. ConfigError if the config breaks a rule
ActivationBytes activation_bytes(const DitConfig& config, std::int64_t rows);

}  // namespace fm
