// Reductions along a row of scores. Rows are padded to whole vectors (pad_row), so there are no scalar tails. Lanes are combined by
// shuffles, which matters for short rows: a row of 16 keys is two vectors, and combining their lanes is half of the work.
#pragma once

#include <limits>
#include <utility>

#include "tensor/kernels/cpu/attention_product.h"
#include "tensor/kernels/cpu/lane.h"
#include "tensor/math.h"

namespace fm::cpu::FM_ISA {
namespace {

template <class T> using Vector = typename VectorOf<T, vector_bytes>::type;
template <class T> constexpr int lanes = vector_bytes / int(sizeof(T));

// Element i of the result is element i ^ distance of v.
template <int distance, class V, int... i> FM_INLINE V swap_lanes(const V& v, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(v, v, (i ^ distance)...);
}

// Combines all lanes of v by f, in log2(lanes) steps.
template <class T, int distance = lanes<T> / 2, class V, class F> FM_INLINE T combine(const V& v, const F& f) {
  const V both = f(v, swap_lanes<distance>(v, std::make_integer_sequence<int, lanes<T>>{}));
  if constexpr (distance == 1) return both[0];
  else return combine<T, distance / 2>(both, f);
}

template <class T> FM_INLINE Int padded_row(Int n) { return (n + lanes<T> - 1) / lanes<T> * lanes<T>; }

template <class T> FM_INLINE void pad_row(T* x, Int n, T value) {
  for (Int i = n; i < padded_row<T>(n); ++i) x[i] = value;
}

// Returns the largest of x[0 .. n). n must be a multiple of the vector length, here and below.
template <class T> FM_INLINE T row_max(const T* x, Int n) {
  using V = Vector<T>;
  V m = load_vector<V>(x);
  for (Int i = lanes<T>; i < n; i += lanes<T>) {
    const V v = load_vector<V>(x + i);
    m = v > m ? v : m;
  }
  return combine<T>(m, [](const V& a, const V& b) __attribute__((always_inline)) -> V { return a > b ? a : b; });
}

template <class T> FM_INLINE T row_sum(const T* x, Int n) {
  using V = Vector<T>;
  V s = load_vector<V>(x);
  for (Int i = lanes<T>; i < n; i += lanes<T>) s += load_vector<V>(x + i);
  return combine<T>(s, [](const V& a, const V& b) __attribute__((always_inline)) -> V { return a + b; });
}

// dx *= x; returns the sum of the products.
template <class T> FM_INLINE T row_weight(const T* x, T* dx, Int n) {
  using V = Vector<T>;
  V s{};
  for (Int i = 0; i < n; i += lanes<T>) {
    const V v = load_vector<V>(x + i) * load_vector<V>(dx + i);
    store_vector(dx + i, v);
    s += v;
  }
  return combine<T>(s, [](const V& a, const V& b) __attribute__((always_inline)) -> V { return a + b; });
}

}  // namespace
}  // namespace fm::cpu::FM_ISA
