// The precision of products of f32 matrices on a GPU.
#pragma once

#include <atomic>

namespace fm::cuda {

inline std::atomic<bool>& tf32_switch() {
  static std::atomic<bool> allowed{false};
  return allowed;
}

// Allows tensor cores to round f32 operands to TF32 (10 bits of fraction), which is several times faster. Off by default.
inline void allow_tf32(bool yes) { tf32_switch() = yes; }
inline bool tf32_allowed() { return tf32_switch(); }

}  // namespace fm::cuda
