// How much memory a training step's tape keeps between the forward and the backward pass, from the config alone.
//
//   a block, for each token:      W values of the residual stream, its input, in f32; 6 W + 2 H values: q | k | v, attention's output, both
//                                 branches' outputs before their gates, the two halves of SwiGLU (the stream between the branches, modulated
//                                 norms and the gated product are computed again)
//   for each row of a condition:  6 W (shifts, scales and gates);     for each token and head: 1 (the logarithm of softmax's sum)
//
//   an MLP, for each sample:      its first layer's input, and each hidden layer before and after its SiLU
//
// With `recompute` a block keeps its input alone; while its backward pass runs, its activations are there again, one block's at a time.
#pragma once

#include <cstdint>

#include "nn/models/dit_dh.h"
#include "nn/models/flow_mlp.h"

namespace fm {

struct ActivationBytes {
  // Up to 2^60: a batch that would need more gives that, not a product that has wrapped around.
  std::int64_t kept = 0;        // by the tape, after the forward pass
  std::int64_t one_block = 0;   // the largest block's: what recompute adds while it runs
};

// Of `batch` samples with gradients; the config says whether blocks are recomputed and in which type they compute. The network's output and
// the loss are in it, targets are not. Rows of `batch` may have tangents: they are computed with the values and not kept.
ActivationBytes activation_bytes(const DitDhConfig& config, std::int64_t batch);
ActivationBytes activation_bytes(const FlowMlpConfig& config, std::int64_t batch);

}  // namespace fm
