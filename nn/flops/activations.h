// The memory that the tape of a training step keeps between the forward and the backward pass. Each network of nn/backbones/ has a function
// activation_bytes(config, rows) that computes it from the config alone.
//
// The network's output and the loss are counted, targets are not. Constant tangents (jvp) are not counted, because the tape does not keep them.
// With config.recompute a block keeps only its input. Its activations then exist only during its own backward pass, for one block at a time.
#pragma once

#include <algorithm>
#include <cstdint>

namespace fm {

struct ActivationBytes {
  // At most 2^60, even if a batch needs more, so that the numbers do not overflow.
  std::int64_t kept = 0;        // the tape's memory after the forward pass
  std::int64_t one_block = 0;   // memory of the largest block, which is needed in addition while recompute runs
};

// Exact for numbers below 2^53.
inline std::int64_t bounded_bytes(double bytes) { return static_cast<std::int64_t>(std::min(bytes, 0x1p60)); }

}  // namespace fm
