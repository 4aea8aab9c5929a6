// Shared by the tests of golden numbers of DiT, SiT and MeanFlow (sdvae-sit.md 8.2, 8.3): models of size S/2 on latents of 8 x 8, filled by rule,
// and the comparison with printed numbers.
#pragma once

#include "nn/models/presets.h"
#include "tests/support/model_check.h"
#include "tests/support/near.h"

namespace fm::test {

inline DitConfig golden_s2(bool mean_flow) {
  DitConfig c = dit("S/2", 64, mean_flow);
  c.learn_sigma = !mean_flow;
  return c;
}

// A model without initial values: sampling those of 33 million parameters would take longer than all calls of a test.
inline Dit not_filled(const DitConfig& config) {
  const ShapesOnly shapes;
  Dit net(config);
  for_each_tensor(net, [](const std::string& name, Tensor& t) {
    if (name != "pos_embed") t = Tensor::empty(t.shape());
  });
  return net;
}

// E of the golden numbers: cos(0.11 (i+1)).
inline Tensor golden_noise(const Shape& shape) {
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(std::cos(0.11 * static_cast<double>(i + 1)));
  return Tensor::from(values, shape);
}

// How near a computed number must be to a printed one: for f64 1e-6 of its size and the last printed digit, for f32 an absolute bound.
struct Tolerance {
  double absolute = 0;
  double of(double wanted) const { return absolute > 0 ? absolute : 1e-6 * std::abs(wanted) + 6e-10; }
};

// Checks the elements from number `begin` on.
inline void check_elements(const Tensor& y, std::size_t begin, const std::vector<double>& wanted, Tolerance tolerance = {}) {
  const std::vector<double> v = y.to_vector<double>();
  REQUIRE(begin + wanted.size() <= v.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) CHECK(std::abs(v[begin + i] - wanted[i]) <= tolerance.of(wanted[i]));
}

inline void check_last(const Tensor& y, const std::vector<double>& wanted, Tolerance tolerance = {}) {
  check_elements(y, static_cast<std::size_t>(y.numel()) - wanted.size(), wanted, tolerance);
}

inline double mean_of(const Tensor& y) {
  double total = 0;
  for (const double v : y.to_vector<double>()) total += v;
  return total / static_cast<double>(y.numel());
}

}  // namespace fm::test
