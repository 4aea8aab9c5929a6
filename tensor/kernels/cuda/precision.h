// How exact products of f32 matrices on a GPU are.
#pragma once

#include <atomic>

namespace fm::cuda {

inline std::atomic<bool>& tf32_switch() {
  static std::atomic<bool> allowed{false};
  return allowed;
}

// Tensor cores may round f32 operands to TF32 (10 bits of fraction) from now on. Several times faster; off by default.
inline void allow_tf32(bool yes) { tf32_switch() = yes; }
inline bool tf32_allowed() { return tf32_switch(); }

}  // namespace fm::cuda
