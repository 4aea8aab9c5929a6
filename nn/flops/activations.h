// The memory that a training step's tape keeps between the forward and the backward pass: the result of activation_bytes(config, rows) for each
// network of nn/backbones/, from the config alone.
//
// With gradients; the config says whether blocks are recomputed and in which type they compute. The network's output and the loss are counted,
// targets are not. Rows may have tangents: they are computed with the values and not kept. With `recompute` a block keeps its input alone; while
// its backward pass runs, its activations exist again, one block's at a time.
#pragma once

#include <algorithm>
#include <cstdint>

namespace fm {

struct ActivationBytes {
  // Up to 2^60: a batch that would need more gives that, not a product that has wrapped around.
  std::int64_t kept = 0;        // by the tape, after the forward pass
  std::int64_t one_block = 0;   // the largest block's: the additional memory while recompute runs
};

// Exact where the number is below 2^53.
inline std::int64_t bounded_bytes(double bytes) { return static_cast<std::int64_t>(std::min(bytes, 0x1p60)); }

}  // namespace fm
