// Family `optimizer`: AdamW and moving averages of the weights in one pass over memory.
//
// Decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2), bias-corrected moments (Kingma and Ba 2015), at step k from 1:
//   g' = scale g                        m <- m + (1 - beta1)(g' - m)          v <- beta2 v + (1 - beta2) g'^2
//   p <- (1 - lr wd) p - (lr / (1 - beta1^k)) m / (sqrt(v) / sqrt(1 - beta2^k) + eps)
//   e <- e + (1 - decay)(p - e)         for each average e
// The lines of e and m add a multiple of a difference, so that their fixed points are exact in f32, however near to 1 the decay is.
#pragma once

#include <cstdint>

#include "tensor/hd.h"

namespace fm::kernels {

template <class T> struct AdamWScalars {
  T rate1;               // 1 - beta1
  T beta2, rate2;        // beta2, 1 - beta2
  T eps;
};

// Numbers that change from step to step lie on the device of the tensors, so that recorded work on a GPU (tensor/graph.h) can repeat with other numbers.
struct AdamWStep {
  double keep;                // 1 - lr wd
  double step_size;           // lr / (1 - beta1^k)
  double root_correction;     // 1 / sqrt(1 - beta2^k)
};
struct AdamWClip {
  double norm;                // norm of all gradients together
  double scale;               // factor of the gradients; if it is not finite, neither is the norm, and the kernels change nothing
};

FM_HD bool is_finite(double x) { return x - x == 0; }

// The largest f32 number. The second moment is a mean of squares in f32: a larger square would make it infinite, and the element would never
// change again.
constexpr double largest_square = 3.4e38;

// Returns the norm and the scale of gradients that are clipped to `limit` (0: none). The constant 1e-6 is that of torch.nn.utils.clip_grad_norm_.
// If the norm is not finite, or if the square of the clipped norm is too large for the second moment, both results are not finite.
FM_HD AdamWClip clipped(double norm, double scale, double limit) {
  const double factor = limit > 0 && norm > limit ? limit / (norm + 1e-6) : 1;
  if (is_finite(norm) && norm * factor * (norm * factor) < largest_square) return {norm, scale * factor};
  const double endless = is_finite(norm) ? __builtin_inf() : norm;
  return {endless, endless - endless};
}

template <class T> struct AdamWTensors {
  T* p = nullptr;
  const T* g = nullptr;     // null: p, m and v stay unchanged, and only the averages are updated
  T* m = nullptr;
  T* v = nullptr;
  T* const* averages = nullptr;       // `average_count` arrays; the list itself lies in the memory of the host
  const double* average_rates = nullptr;   // 1 - decay of each
  int average_count = 0;
  std::int64_t n = 0;
  const AdamWStep* step = nullptr;    // null if g is null
  const AdamWClip* clip = nullptr;
};

template <class T> using AdamWKernel = void (*)(const AdamWTensors<T>& tensors, const AdamWScalars<T>& scalars);

struct OptimizerKernels {
  // *out = clipped(norm, scale, limit) with norm = scale sqrt(squares[0] + ... + squares[n - 1]).
  void (*clip)(const double* squares, std::int64_t n, double scale, double limit, AdamWClip* out);
  AdamWKernel<float> adamw_f32;
  AdamWKernel<double> adamw_f64;
};

}  // namespace fm::kernels
