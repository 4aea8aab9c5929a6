// Stores a sum from scratch memory: adds the bias, adds the old value if C is accumulated, and rounds if C has a narrower type.
#pragma once

#include <type_traits>

#include "tensor/kernels/cpu/gemm.h"
#include "tensor/kernels/cpu/gemm_pack.h"
#include "tensor/kernels/cpu/integers.h"

namespace fm::cpu::FM_ISA {
namespace {

// c = x + bias[j] (+ c)
template <class T, class In, class Out, class InB>
FM_INLINE void store_sum(const GemmArgs<In, Out, InB>& g, Int j, T x, Out& c) {
  if (g.bias) x += convert<T>(g.bias[j]);
  if (g.accumulate) x += convert<T>(c);
  if constexpr (std::is_same_v<Out, T>)
    c = x;
  else
    c = narrow(x);
}

// Stores C for an empty sum (k = 0).
template <class T, class In, class Out, class InB>
void product_of_nothing(const GemmArgs<In, Out, InB>& g, Out* c) {
  for (Int i = 0; i < g.m; ++i)
    for (Int j = 0; j < g.n; ++j) store_sum(g, j, T(0), c[i * g.ldc + j]);
}

}  // namespace
}  // namespace fm::cpu::FM_ISA
