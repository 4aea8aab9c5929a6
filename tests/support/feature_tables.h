// Features for tests of metrics, as made by the golden scripts in Python (tests/golden/{frechet,kernel_distance,evaluation_metrics}.py).
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "tensor/tensor.h"
#include "tests/support/golden.h"

namespace fm::test {

// Rows whose neighbors are correlated: x_j = z_j + mix x_(j-1), then shift + spread x, rounded to f32.
inline Tensor table(const std::string& key, std::int64_t n, std::int64_t d, double mix, double shift, double spread) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < n; ++i) {
    double x = 0;
    for (std::int64_t j = 0; j < d; ++j) {
      x = named_number(key, i * d + j) + (j > 0 ? mix * x : 0);
      values.push_back(static_cast<float>(shift + spread * x));
    }
  }
  return Tensor::from(values, {n, d});
}

inline Tensor x_table(std::int64_t n, std::int64_t d = 16) { return table("frechet.x", n, d, 0.5, 0, 1); }
inline Tensor y_table(std::int64_t n, std::int64_t d = 16) { return table("frechet.y", n, d, 0.3, 0.2, 1.2); }

// Whole numbers low .. high-1 above an offset: full of ties and duplicates.
inline Tensor whole(const std::string& key, std::int64_t n, std::int64_t d, double low, double high, double offset) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < n * d; ++i)
    values.push_back(static_cast<float>(offset + std::floor((named_number(key, i) + 1) / 2 * (high - low)) + low));
  return Tensor::from(values, {n, d});
}

// A line of golden/evaluation_metrics.txt.
inline const std::vector<double>& golden_metric(const std::string& name) {
  static const auto all = golden_rows(FM_TESTS_FOLDER "/golden/evaluation_metrics.txt");
  return all.at(name);
}

// A copy of x whose row `row` begins with `value`.
inline Tensor with_number(const Tensor& x, std::int64_t row, double value) {
  const Tensor out = x.clone();
  out.reshape({x.dim(0), -1}).select(0, row).slice(0, 0, 1).fill(value);
  return out;
}

}  // namespace fm::test
