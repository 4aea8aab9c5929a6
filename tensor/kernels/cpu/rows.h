// Row programs on the CPU: one table per element type. `row_kernels().of<float>().softmax_value(...)`. Rows are spread over the threads;
// every result is the same for any number of threads. Argument structs and their equations: tensor/kernels/rows/.
#pragma once

#include <cstdint>
#include <type_traits>

#include "tensor/kernels/cpu/isa.h"
#include "tensor/kernels/rows/args.h"

namespace fm::cpu {

template <class T>
struct RowTable {
  using Norm = rows::Norm<T>;
  using Gated = rows::Gated<T>;
  using CrossEntropy = rows::CrossEntropy<T>;
  using Count = std::int64_t;

  void (*layer_norm_value)(const Norm&, T* y);
  void (*layer_norm_push)(const Norm&, const rows::NormPush<T>&);
  void (*layer_norm_pull)(const Norm&, const rows::NormPull<T>&);
  void (*rms_norm_value)(const Norm&, T* y);
  void (*rms_norm_push)(const Norm&, const rows::NormPush<T>&);
  void (*rms_norm_pull)(const Norm&, const rows::NormPull<T>&);

  // x, y, dx, ... (rows, width). push and pull take the saved output y. gx may be gy.
  void (*softmax_value)(Count rows, Count width, const T* x, T* y);
  void (*softmax_push)(Count rows, Count width, const T* y, const T* dx, T* dy);
  void (*softmax_pull)(Count rows, Count width, const T* y, const T* gy, T* gx);
  void (*log_softmax_value)(Count rows, Count width, const T* x, T* y);
  void (*log_softmax_push)(Count rows, Count width, const T* y, const T* dx, T* dy);
  void (*log_softmax_pull)(Count rows, Count width, const T* y, const T* gy, T* gx);

  // x (rows, 2 half) -> y (rows, half)
  void (*swiglu_value)(Count rows, Count half, const T* x, T* y);
  void (*swiglu_push)(Count rows, Count half, const T* x, const T* dx, T* dy);
  void (*swiglu_pull)(Count rows, Count half, const T* x, const T* gy, T* gx);

  // y = x + gate h. Tangents may be null (zero), gradients null (not wanted); ld is that of dgate, ggate.
  void (*gated_value)(const Gated&, T* y);
  void (*gated_push)(const Gated&, const T* dx, const T* dh, const T* dgate, Count ld, T* dy);
  void (*gated_pull)(const Gated&, const T* gy, T* gh, T* ggate, Count ld);

  // x, y, gy, gx (batch, tokens, parts, heads, dim); linear, so push is value on dx. y may be x, gx may be gy.
  void (*rope_value)(const rows::Rope<T>&, const T* x, T* y);
  void (*rope_pull)(const rows::Rope<T>&, const T* gy, T* gx);

  // loss, dloss, gloss (rows)
  void (*cross_entropy_value)(const CrossEntropy&, T* loss);
  void (*cross_entropy_push)(const CrossEntropy&, const T* dx, T* dloss);
  void (*cross_entropy_pull)(const CrossEntropy&, const T* gloss, T* gx);
};

struct RowKernels {
  RowTable<float> f32;
  RowTable<double> f64;
  template <class T> const RowTable<T>& of() const {
    if constexpr (std::is_same_v<T, float>) return f32;
    else return f64;
  }
};

FM_KERNEL_FAMILY(RowKernels, row_kernels)

}  // namespace fm::cpu
