// Row programs: one table per element type, row_kernels(device).of<float>().softmax_value(...). On the CPU the threads share the rows,
// and results do not depend on the number of threads. Argument structs and their equations: tensor/kernels/rows/.
#pragma once

#include <cstdint>
#include <type_traits>

#include "tensor/dtype.h"
#include "tensor/kernels/rows/args.h"

namespace fm::kernels {

// Operations on a residual stream of type X and activations of type S, computed in T.
template <class T, class S = T, class X = S>
struct StreamTable {
  using Norm = rows::Norm<T, S, X>;
  using NormPush = rows::NormPush<T, S, X>;
  using NormPull = rows::NormPull<T, S, X>;
  using Gated = rows::Gated<S, X>;
  using Count = std::int64_t;

  void (*layer_norm_value)(const Norm&, S* y);
  void (*layer_norm_push)(const Norm&, const NormPush&);
  void (*layer_norm_pull)(const Norm&, const NormPull&);
  void (*rms_norm_value)(const Norm&, S* y);
  void (*rms_norm_push)(const Norm&, const NormPush&);
  void (*rms_norm_pull)(const Norm&, const NormPull&);

  // y = x + gate h. A null tangent stands for zero, a null gradient is not computed. ld: leading dimension of dgate and ggate.
  void (*gated_value)(const Gated&, X* y);
  void (*gated_push)(const Gated&, const X* dx, const S* dh, const S* dgate, Count ld, X* dy);
  void (*gated_pull)(const Gated&, const X* gy, S* gh, T* ggate, Count ld);

  void (*group_norm_value)(const rows::GroupNorm<T, X>&, S* y) = nullptr;          // of the CPU only
};

// Operations on activations of type S only.
template <class T, class S = T>
struct ActivationTable : StreamTable<T, S> {
  using Count = std::int64_t;

  // x (rows, 2 half) -> y (rows, half)
  void (*swiglu_value)(Count rows, Count half, const S* x, S* y);
  void (*swiglu_push)(Count rows, Count half, const S* x, const S* dx, S* dy);
  void (*swiglu_pull)(Count rows, Count half, const S* x, const S* gy, S* gx);

  // x, y, gy, gx (batch, tokens, parts, heads, dim). The operation is linear, so its push is rope_value of dx. y may be x, gx may be gy.
  void (*rope_value)(const rows::Rope<T>&, const S* x, S* y);
  void (*rope_pull)(const rows::Rope<T>&, const S* gy, S* gx);
};

template <class T>
struct RowTable : ActivationTable<T> {
  using CrossEntropy = rows::CrossEntropy<T>;
  using Count = std::int64_t;

  // x, y, dx, ... (rows, width). push and pull take the saved output y. gx of softmax may be gy.
  void (*softmax_value)(Count rows, Count width, const T* x, T* y);
  void (*softmax_push)(Count rows, Count width, const T* y, const T* dx, T* dy);
  void (*softmax_pull)(Count rows, Count width, const T* y, const T* gy, T* gx);
  void (*log_softmax_value)(Count rows, Count width, const T* x, T* y);
  void (*log_softmax_push)(Count rows, Count width, const T* y, const T* dx, T* dy);
  void (*log_softmax_pull)(Count rows, Count width, const T* y, const T* gy, T* gx);

  // loss, dloss, gloss (rows)
  void (*cross_entropy_value)(const CrossEntropy&, T* loss);
  void (*cross_entropy_push)(const CrossEntropy&, const T* dx, T* dloss);
  void (*cross_entropy_pull)(const CrossEntropy&, const T* gloss, T* gx);
};

struct RowKernels {
  RowTable<float> f32;
  RowTable<double> f64;
  ActivationTable<float, bf16> half;
  StreamTable<float, bf16, float> half_on_f32;     // bf16 branches of an f32 stream
  template <class T> const RowTable<T>& of() const {
    if constexpr (std::is_same_v<T, float>) return f32;
    else return f64;
  }
};

}  // namespace fm::kernels
