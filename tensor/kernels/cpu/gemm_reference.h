// The definition of a matrix product (gemm.h) in plain loops with sums in double: the reference of the kernels' tests.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tensor/kernels/cpu/gemm.h"

namespace fm::cpu {

inline double reference_value(float x) { return x; }
inline double reference_value(double x) { return x; }
inline double reference_value(std::uint16_t bf16) {
  const std::uint32_t bits = std::uint32_t(bf16) << 16;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

inline double reference_value(RoundedFloat x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return reference_value(std::uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16));     // to nearest, ties to even
}

// `c` receives the results as doubles, batch x m x n without gaps; g.c is only read (accumulate). `magnitude`, if given, receives the
// same sums of absolute values, to which rounding errors are proportional.
template <class In, class Out, class InB>
void gemm_reference(const GemmArgs<In, Out, InB>& g, double* c, double* magnitude = nullptr) {
  for (std::int64_t q = 0; q < g.batch; ++q)
    for (std::int64_t i = 0; i < g.m; ++i)
      for (std::int64_t j = 0; j < g.n; ++j) {
        const In* a = g.a + q * g.stride_a;
        const InB* b = g.b + q * g.stride_b;
        double sum = 0, size = 0;
        for (std::int64_t p = 0; p < g.k; ++p) {
          const double x = reference_value(g.ta ? a[p * g.lda + i] : a[i * g.lda + p]);
          const double term = x * reference_value(g.tb ? b[j * g.ldb + p] : b[p * g.ldb + j]);
          sum += term;
          size += std::fabs(term);
        }
        const double bias = g.bias ? reference_value(g.bias[j]) : 0;
        const double before = g.accumulate ? reference_value(g.c[q * g.stride_c + i * g.ldc + j]) : 0;
        const std::int64_t at = (q * g.m + i) * g.n + j;
        c[at] = g.alpha * sum + bias + before;
        if (magnitude) magnitude[at] = std::fabs(g.alpha) * size + std::fabs(bias) + std::fabs(before);
      }
}

}  // namespace fm::cpu
