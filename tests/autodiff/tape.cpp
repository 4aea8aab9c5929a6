// The tape, both modes, and tangents that cover only the first rows, on functions whose derivatives are known in closed form.
#include <doctest/doctest.h>

#include <cmath>

#include "autodiff/jvp.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "tests/support/tensors.h"

using namespace fm;
using fm::test::max_difference;

namespace {

Tensor vec(const std::vector<double>& v) { return Tensor::from(v, {static_cast<std::int64_t>(v.size())}); }

}  // namespace

TEST_CASE("backward of a product of functions") {
  Tape tape;
  const Var x = tape.variable(vec({0.3, -1.2, 2.0}));
  const Gradients g = backward(sum(sin(x) * exp(x)));
  std::vector<double> expected;
  for (double v : {0.3, -1.2, 2.0}) expected.push_back(std::exp(v) * (std::sin(v) + std::cos(v)));
  CHECK(max_difference(g[x], vec(expected)) < 1e-14);
}

TEST_CASE("a value used twice gets both cotangents") {
  Tape tape;
  const Var x = tape.variable(vec({1.5}));
  const Gradients g = backward(sum(x * x + x));
  CHECK(g[x].item() == doctest::Approx(4.0));
}

TEST_CASE("jvp does not record the tangent; jvp_taped does") {
  const auto f = [](const Var& x) { return tanh(x) * x; };
  const double v = 0.7, d = 0.5, t = std::tanh(v), s = 1 - t * t;
  {
    Tape tape;
    const Var x = tape.variable(vec({v}));
    const auto [y, dy] = jvp(f, at(x), along(vec({d})));
    CHECK(dy.item() == doctest::Approx((s * v + t) * d).epsilon(1e-14));
    CHECK(backward(sum(y * dy))[x].item() == doctest::Approx((s * v + t) * dy.item()).epsilon(1e-14));
  }
  Tape tape;
  const Var x = tape.variable(vec({v}));
  const auto [y, dy] = jvp_taped(f, at(x), along(vec({d})));
  CHECK(backward(sum(dy))[x].item() == doctest::Approx((2 * s - 2 * t * s * v) * d).epsilon(1e-13));
}

TEST_CASE("a tangent of the first rows equals the full one with zero rows") {
  const Tensor x = Tensor::arange(12, DType::f64).reshape({4, 3}), part = Tensor::arange(6, DType::f64).reshape({2, 3});
  const Tensor c = Tensor::arange(3, DType::f64) + 1.0;
  const auto f = [&](const Var& v) {
    const Var h = mul(sin(v), c) + sum(v, {1}, true) / (1.0 + square(v));
    return concat({reshape(h, {4, 1, 3}), unsqueeze(transpose(transpose(h, 0, 1), 0, 1), 1)}, 1);
  };
  const auto [y, dy] = jvp(f, at(x), along(part));
  const auto [z, dz] = jvp(f, at(x), along(pad(part, 0, 0, 2)));
  CHECK(max_difference(y.value(), z.value()) == 0);
  CHECK(max_difference(pad(dy, 0, 0, 4 - dy.dim(0)), dz) < 1e-14);
}

TEST_CASE("errors are typed and say what is wrong") {
  Var dead;
  {
    Tape tape;
    dead = tape.variable(vec({1.0}));
  }
  Tape tape;
  CHECK_THROWS_AS(exp(dead), AutodiffError);
  CHECK_THROWS_AS(backward(Var(vec({1.0}))), AutodiffError);
  const auto nested = [](const Var& x) { return jvp([](const Var& v) { return exp(v); }, at(x), along(1.0)).first; };
  CHECK_THROWS_AS(jvp(nested, at(vec({1.0})), along(1.0)), AutodiffError);
}

TEST_CASE("PauseTape records nothing") {
  Tape tape;
  const Var x = tape.variable(vec({1.0}));
  const std::size_t before = tape.size();
  {
    const PauseTape pause;
    CHECK_FALSE(exp(x).on_tape());
  }
  CHECK(tape.size() == before);
}
