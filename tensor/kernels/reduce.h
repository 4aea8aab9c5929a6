// Family `reduce`: sums and maxima over one run of dimensions of a contiguous (outer, n, inner) array.
//
// Sums are computed in blocks of fixed size, whose partial sums are added in index order in double. So they do not depend on the number of threads
// and are accurate to a few ulp at any length.
#pragma once

#include <cstdint>

namespace fm::kernels {

template <class T> struct ReduceTable {
  void (*sum_rows)(const T* x, T* y, std::int64_t outer, std::int64_t n);                              // y[o] = sum_i x[o, i]
  void (*sum_columns)(const T* x, T* y, std::int64_t outer, std::int64_t n, std::int64_t inner);       // y[o, j] = sum_i x[o, i, j]
  void (*max_rows)(const T* x, T* y, std::int64_t outer, std::int64_t n);                              // n >= 1; NaN if any element is NaN
  void (*sum_squares)(const T* x, std::int64_t n, double* y);                                          // y[0] = sum_i x[i]^2, for norms
};

// A partial sum of f32 squares that is below this number, or not finite, is computed again in double. So the sum of squares of an f32 tensor is
// finite exactly if its elements are, and the norm of tiny gradients is not 0.
constexpr float squares_safe_from = 0x1p-100f;

struct ReduceKernels {
  ReduceTable<float> f32;
  ReduceTable<double> f64;
};

}  // namespace fm::kernels
