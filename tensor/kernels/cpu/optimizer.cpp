#include "tensor/kernels/cpu/optimizer.h"

#include "tensor/math.h"
#include "tensor/parallel.h"

namespace fm::cpu::FM_ISA {
namespace {

constexpr std::int64_t block = 1024;     // elements whose p stays in the L1 cache until all averages are updated
constexpr std::int64_t job = 16 * block;

template <class T>
FM_INLINE void update(T* __restrict p, const T* __restrict g, T* __restrict m, T* __restrict v, std::int64_t n, const AdamWScalars<T>& s,
                      T scale, const AdamWStep& now) {
  const T keep = T(now.keep), rate1 = s.rate1, beta2 = s.beta2, rate2 = s.rate2, step = T(now.step_size), root = T(now.root_correction),
          eps = s.eps;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const T gi = scale * g[i];
    const T mi = m[i] + rate1 * (gi - m[i]);
    const T vi = beta2 * v[i] + rate2 * (gi * gi);
    m[i] = mi;
    v[i] = vi;
    p[i] = keep * p[i] - step * mi / (math::sqrt(vi) * root + eps);
  }
}

template <class T> FM_INLINE void follow(T* __restrict e, const T* __restrict p, T rate, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) e[i] += rate * (p[i] - e[i]);
}

template <class T> void adamw(const AdamWTensors<T>& t, const AdamWScalars<T>& s) {
  if (!is_finite(t.clip->scale)) return;
  parallel_for((t.n + job - 1) / job, 16 * job, [&](std::int64_t j) {
    const std::int64_t end = t.n - j * job < job ? t.n : (j + 1) * job;
    for (std::int64_t at = j * job; at < end; at += block) {
      const std::int64_t n = end - at < block ? end - at : block;
      if (t.g) update(t.p + at, t.g + at, t.m + at, t.v + at, n, s, T(t.clip->scale), *t.step);
      for (int k = 0; k < t.average_count; ++k) follow(t.averages[k] + at, t.p + at, T(t.average_rates[k]), n);
    }
  });
}

void clip(const double* squares, std::int64_t n, double scale, double limit, AdamWClip* out) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += squares[i];
  *out = clipped(scale * math::sqrt(sum), scale, limit);
}

}  // namespace

const OptimizerKernels& optimizer_kernels() {
  static constexpr OptimizerKernels table{clip, adamw<float>, adamw<double>};
  return table;
}

}  // namespace fm::cpu::FM_ISA
