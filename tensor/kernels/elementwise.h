// Family `map`: element-wise loops over contiguous memory (strides 0 or 1), for f32 and f64. GPUs have other tables (cuda/backend.h).
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/ops/elementwise_ops.h"

namespace fm::kernels {

template <class T> struct UnaryKernels {
  void (*value)(const T* x, T* y, std::int64_t n);
  void (*slope_times)(const T* saved, const T* g, T* out, std::int64_t n);                 // out = f'(.) g; saved is x or y (saves_output)
  void (*dual)(const T* x, const T* dx, T* y, T* dy, std::int64_t n);                      // y = f(x), dy = f'(x) dx in one sweep
  void (*curvature)(const T* x, const T* dx, const T* g, T* out, std::int64_t n);          // out = f''(x) dx g
};

// y[i] = f(a[i * stride_a], b[i * stride_b]), strides 0 or 1.
template <class T> using BinaryKernel = void (*)(const T* a, int stride_a, const T* b, int stride_b, T* y, std::int64_t n);

template <class T> struct ElementwiseTable {
  UnaryKernels<T> unary[UnaryOps::count];
  BinaryKernel<T> binary[BinaryOps::count];
  void (*affine)(const T* x, T scale, T shift, T* y, std::int64_t n);                      // y = scale x + shift
  void (*axpy)(T alpha, const T* x, T* y, std::int64_t n);                                 // y += alpha x
  void (*select)(const T* condition, const T* a, const T* b, T* y, std::int64_t n);        // y = condition != 0 ? a : b
};

// bf16 has no table: widen and narrow convert its arrays, piece by piece, before and after the f32 kernels.
struct ElementwiseKernels {
  ElementwiseTable<float> f32;
  ElementwiseTable<double> f64;
  void (*widen)(const bf16* x, float* y, std::int64_t n);
  void (*narrow)(const float* x, bf16* y, std::int64_t n);                                 // to nearest, ties to even
};

}  // namespace fm::kernels
