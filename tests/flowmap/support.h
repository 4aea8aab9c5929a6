// Shared by the tests of flowmap/: a Gaussian whose flow map is known, a small random network, batches, differences.
#pragma once

#include <doctest/doctest.h>

#include <cmath>

#include "autodiff/rules/matmul.h"
#include "flowmap/batch.h"
#include "flowmap/gaussian.h"
#include "tests/support/tensors.h"

namespace fm::test {

inline constexpr std::int64_t dim = 5;

inline GaussianFlow gaussian(DType dtype = DType::f64) {
  return {Tensor::from<double>({0.7, -0.4, 0.1, 1.2, -1.0}, {dim}).to(dtype),
          Tensor::from<double>({0.3, 0.6, 1.0, 1.5, 0.8}, {dim}).to(dtype)};
}

// Data of gaussian(), with labels 0..3.
inline Batch gaussian_batch(std::int64_t rows, DType dtype = DType::f64, std::uint32_t step = 0) {
  const GaussianFlow g = gaussian(dtype);
  const Draws draws{17, step, consecutive(1000, rows)};
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < rows; ++i) labels.push_back(i % 4);
  return {g.mean + g.deviation * draws.normal({dim}, dtype, Purpose::sampling), Tensor::from(labels, {rows}), draws};
}

// A network of (z, t, t - s) and a label. Its activation is tanh, so it is smooth. The seed determines its parameters.
struct SmallNet {
  Parameter w1, b1, w2, b2, w3, table;

  explicit SmallNet(DType dtype = DType::f64, std::uint64_t seed = 5, std::int64_t width = 16) {
    const auto random = [&](Shape shape, double scale, std::uint32_t i) {
      return Parameter{random_normal(shape, RandomKey{seed, i}, 0, dtype) * scale};
    };
    w1 = random({width, dim + 2}, 0.5, 1);
    b1 = random({width}, 0.3, 2);
    w2 = random({width, width}, 0.3, 3);
    b2 = random({width}, 0.3, 4);
    w3 = random({dim, width}, 0.3, 5);
    table = random({5, width}, 0.5, 6);               // label 4 is the null label
  }
  FlowMapNet net() const {
    return [this](const Var& z, const Var& s, const Var& t, const Labels& y) {
      Var h = linear(concat(std::vector<Var>{z, column(t, 2), column(t - s, 2)}, 1), Var(w1), Var(b1));
      if (y.defined()) h = h + gather(Var(table), y);
      return linear(tanh(linear(tanh(h), Var(w2), Var(b2))), Var(w3));
    };
  }
};

inline std::vector<const Parameter*> parameters(const SmallNet& n) { return {&n.w1, &n.b1, &n.w2, &n.b2, &n.w3, &n.table}; }

// The gradients of a loss for every parameter of the small network, as one vector.
inline std::vector<double> gradient(const SmallNet& small, const std::function<Var()>& loss) {
  Tape tape;
  Gradients g = backward(loss());
  std::vector<double> all;
  for (const Parameter* p : parameters(small))
    for (double x : g[*p].to_vector<double>()) all.push_back(x);
  return all;
}

inline Tensor times(const std::vector<double>& t, DType dtype = DType::f64) {
  return Tensor::from(t, {static_cast<std::int64_t>(t.size())}).to(dtype);
}

}  // namespace fm::test
