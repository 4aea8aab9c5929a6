// Helpers for tests of tensors: random tensors, differences, inner products.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <utility>

#include "tensor/io/safetensors.h"
#include "tensor/random/fill.h"
#include "tensor/tensor.h"
#include "tests/support/difference.h"

namespace fm::test {

// Standard normal numbers, a function of (seed, element) alone: the same in every type.
inline Tensor normal(const Shape& shape, std::uint64_t seed, DType dtype = DType::f64) {
  return random_normal(shape, {seed, 0}, 0, DType::f64).to(dtype);
}

inline double max_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  return max_difference(a.to_vector<double>(), b.to_vector<double>());
}

// Whether both have the same names and values, in any order.
inline bool same_in_any_order(NamedTensors a, NamedTensors b) {
  if (a.size() != b.size()) return false;
  for (NamedTensors* x : {&a, &b}) std::sort(x->begin(), x->end(), [](const auto& p, const auto& q) { return p.first < q.first; });
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].first != b[i].first || a[i].second.shape() != b[i].second.shape() || max_difference(a[i].second, b[i].second) != 0) return false;
  return true;
}

inline double dot(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

inline double norm(const Tensor& x) { return std::sqrt(dot(x, x)); }

}  // namespace fm::test
