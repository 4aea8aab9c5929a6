// The synthetic sines of data/sines.h as tensors, and their closed-form statistics: mean 0, variance 1, and
//
//   E x(l) x(l+k) = 1/4 sum_{f = 1..4} [ 0.64 cos(2 pi f k / L) + 0.36 cos(2 pi (f + 4) k / L) ]       over phases and the four labels
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "data/sines.h"
#include "tensor/tensor.h"

namespace fm::test {

// Samples first .. first + n - 1, (n, channels, length) f32. Sample i has label i mod 4.
inline Tensor sines(std::int64_t first, std::int64_t n, std::int64_t channels, std::int64_t length, Split split = Split::test) {
  const auto source = sine_source({.count = first + n, .length = length, .channels = channels}, split);
  const Tensor x = Tensor::empty({n, channels, length}, DType::f32, Device{});
  for (std::int64_t i = 0; i < n; ++i) source->read(first + i, {}, x.data<float>() + i * channels * length);
  return x;
}

inline double correlation_of_sines(std::int64_t lag, std::int64_t length) {
  const double turn = 2 * std::numbers::pi * static_cast<double>(lag) / static_cast<double>(length);
  double sum = 0;
  for (int f = 1; f <= 4; ++f) sum += 0.25 * (0.64 * std::cos(f * turn) + 0.36 * std::cos((f + 4) * turn));
  return sum;
}

}  // namespace fm::test
