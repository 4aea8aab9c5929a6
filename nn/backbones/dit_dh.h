// DiT^DH as an entry of the list of networks (flowmap/training/backbones.h), and properties that follow from its config alone: its size in words, its
// parameters and products (nn/flops/count.h), and the memory of a step (nn/flops/activations.h):
//
//   a block, for each token:      W values of the residual stream, its input, in f32; 6 W + 2 H values: q | k | v, attention's output, both
//                                 branches' outputs before their gates, the two halves of SwiGLU (the stream between the branches, modulated
//                                 norms and the gated product are computed again)
//   for each row of a condition:  6 W (shifts, scales and gates);     for each token and head: 1 (the logarithm of softmax's sum)
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
  static constexpr std::string_view says = "diffusion transformer, teacher and student";

  static void fit(DitDhConfig& config, const Modeled& samples);      // ConfigError: it models (channels, length) and (channels, height, width), with labels
  // A teacher's weights begin a flow map with the initial values of R(t - s); with late_s they are all it needs. Entries of the file that could not be read may have been it.
  static void complete(const DitDh& map, Weights& teacher);
  static Weights read(const std::string& where, const Warn& warn);   // published files name its tensors in several ways
  static void check(const Weights& weights, bool two_times, const std::string& role);      // FileError for weights of the other kind
  static std::string block_name(const DitDhConfig& config, std::int64_t number);           // "backbone blocks", "head blocks"
};

// "DiT^DH 128x4 + 128x2, velocity v(z, t)": width x depth of backbone and head. For sequences also their shape and the number of tokens.
std::string size_text(const DitDhConfig& config);
CostTable cost_table(const DitDhConfig& config);                     // of one sample, one call. ConfigError when the config breaks a rule
ActivationBytes activation_bytes(const DitDhConfig& config, std::int64_t rows);

}  // namespace fm
