// Family `optimizer`: AdamW and moving averages of the weights in one pass over memory.
//
// Decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2), bias-corrected moments (Kingma and Ba 2015), at step k from 1:
//   g' = scale g                        m <- m + (1 - beta1)(g' - m)          v <- beta2 v + (1 - beta2) g'^2
//   p <- (1 - lr wd) p - (lr / (1 - beta1^k)) m / (sqrt(v) / sqrt(1 - beta2^k) + eps)
//   e <- e + (1 - decay)(p - e)         for each average e
// The last line and that of m are written as differences, so that their fixed points are exact in f32 however near to 1 the decay is.
#pragma once

#include <cstdint>

namespace fm::kernels {

template <class T> struct AdamWScalars {
  T gradient_scale;
  T keep;                // 1 - lr wd
  T rate1;               // 1 - beta1
  T beta2, rate2;        // beta2, 1 - beta2
  T step_size;           // lr / (1 - beta1^k)
  T root_correction;     // 1 / sqrt(1 - beta2^k)
  T eps;
};

template <class T> struct AdamWTensors {
  T* p = nullptr;
  const T* g = nullptr;     // null: p, m and v stay as they are, the averages follow p
  T* m = nullptr;
  T* v = nullptr;
  T* const* averages = nullptr;       // `average_count` arrays
  const T* average_rates = nullptr;   // 1 - decay of each
  int average_count = 0;
  std::int64_t n = 0;
};

template <class T> using AdamWKernel = void (*)(const AdamWTensors<T>& tensors, const AdamWScalars<T>& scalars);

struct OptimizerKernels {
  AdamWKernel<float> adamw_f32;
  AdamWKernel<double> adamw_f64;
};

}  // namespace fm::kernels
