// Rotary position embedding of packed q, k, v rows: see tensor/ops/attention.h for the equation.
#pragma once

#include <cstdint>

#include "tensor/kernels/cpu/isa.h"

namespace fm::cpu {

template <class T> struct Rope {
  std::int64_t rows = 0, tokens = 0;         // rows = samples x tokens; row r is at position r % tokens
  std::int64_t heads = 0, dim = 0;           // a row is 3 x heads x dim: q and k are rotated, v is copied
  const T *cos = nullptr, *sin = nullptr;    // (tokens, dim)
  const T* x = nullptr;
  T* y = nullptr;
};

template <class T> struct RopeTable {
  void (*apply)(const Rope<T>&);
  void (*transpose)(const Rope<T>&);
};

struct RopeKernels {
  RopeTable<float> f32;
  RopeTable<double> f64;
};

FM_KERNEL_FAMILY(RopeKernels, rope_kernels)

}  // namespace fm::cpu
