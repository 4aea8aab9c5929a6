// Helpers for tests of tensors: random tensors, differences, inner products.
#pragma once

#include <doctest/doctest.h>

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

inline double dot(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

inline double norm(const Tensor& x) { return std::sqrt(dot(x, x)); }

}  // namespace fm::test
