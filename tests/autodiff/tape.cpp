// The tape, both modes, and tangents that cover only the first rows, on functions whose derivatives are known in closed form.
#include <doctest/doctest.h>

#include <cmath>

#include "autodiff/jvp.h"
#include "autodiff/recompute.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "tests/support/error_of.h"
#include "tests/support/mentions.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"

using namespace fm;
using fm::test::near;
using fm::test::max_difference;

namespace {

Tensor vec(const std::vector<double>& v) { return Tensor::from(v, {static_cast<std::int64_t>(v.size())}); }

}  // namespace

TEST_CASE("backward differentiates a product of functions") {
  Tape tape;
  const Var x = tape.variable(vec({0.3, -1.2, 2.0}));
  const Gradients g = backward(sum(sin(x) * exp(x)));
  std::vector<double> expected;
  for (double v : {0.3, -1.2, 2.0}) expected.push_back(std::exp(v) * (std::sin(v) + std::cos(v)));
  CHECK(max_difference(g[x], vec(expected)) < 1e-14);
}

TEST_CASE("leaves, parameters' leaves and kept values have gradients; any other Var is an error") {
  const Parameter p{vec({2.0}), true}, unused{vec({1.0}), true};
  Tape tape;
  const Var x = tape.variable(vec({3.0})), y = tape.variable(vec({5.0})), apart = tape.variable(vec({7.0}));
  const Var leaf = p;                                    // p's leaf
  const Var h = x * leaf, z = h * h + h * y, other = exp(apart);
  tape.keep(h);
  tape.keep(x);                                          // no effect: leaves always have gradients
  tape.keep(other);
  const Gradients g = backward(sum(z));
  CHECK(g[h].item() == 2 * 6 + 5);                       // the sum over both uses of h
  CHECK(g[x].item() == 17 * 2);
  CHECK(g[y].item() == 6);
  CHECK(g[p].item() == 17 * 3);
  CHECK(g[leaf].item() == 17 * 3);
  CHECK(g[Var(p)].item() == 17 * 3);
  CHECK_FALSE(g[apart].defined());                       // the loss depends on neither
  CHECK_FALSE(g[other].defined());
  CHECK_FALSE(g[unused].defined());
  CHECK(test::mentions(test::error_of<AutodiffError>([&] { g[z]; }), {"requested", "[1]", "Tape::keep"}));
  CHECK(test::mentions(test::error_of<AutodiffError>([&] { g[Var(vec({1.0}))]; }), {"requested", "[1]", "Tape::variable"}));
  CHECK_THROWS_AS(tape.keep(y), AutodiffError);          // after backward()
  Tape second;
  CHECK(test::mentions(test::error_of<AutodiffError>([&] { g[second.variable(vec({1.0}))]; }), {"requested", "[1]", "recorded"}));
  CHECK_THROWS_AS(second.keep(y), AutodiffError);
}

TEST_CASE("a kept cotangent is not changed by later additions") {
  Tape tape;
  const Var x = tape.variable(vec({1.0, 2.0}));
  const Var a = x + 1.0, b = a + x;                      // the cotangents of a, b and x are one tensor
  tape.keep(a);
  tape.keep(b);
  const Gradients g = backward(sum(b * 3.0));
  CHECK(max_difference(g[b], vec({3, 3})) == 0);
  CHECK(max_difference(g[a], vec({3, 3})) == 0);
  CHECK(max_difference(g[x], vec({6, 6})) == 0);
}

TEST_CASE("the gradient of a parameter's leaf includes its uses inside recomputed parts") {
  const Parameter p{vec({2.0}), true};
  Tape tape;
  const Var leaf = p, x = tape.variable(vec({3.0}));
  const Gradients g = backward(sum(recompute([&](const Var& v) { return v * Var(p); }, x) + leaf * leaf));
  CHECK(g[leaf].item() == 3 + 4);
  CHECK(g[p].item() == 3 + 4);
}

TEST_CASE("a value used twice gets both cotangents") {
  Tape tape;
  const Var x = tape.variable(vec({1.5}));
  const Gradients g = backward(sum(x * x + x));
  CHECK(near(g[x].item(), 4.0, 1e-14));
}

TEST_CASE("jvp does not record the tangent; jvp_taped does") {
  const auto f = [](const Var& x) { return tanh(x) * x; };
  const double v = 0.7, d = 0.5, t = std::tanh(v), s = 1 - t * t;
  {
    Tape tape;
    const Var x = tape.variable(vec({v}));
    const auto [y, dy] = jvp(f, at(x), along(vec({d})));
    CHECK(near(dy.item(), (s * v + t) * d, 1e-14));
    CHECK(near(backward(sum(y * dy))[x].item(), (s * v + t) * dy.item(), 1e-14));
  }
  Tape tape;
  const Var x = tape.variable(vec({v}));
  const auto [y, dy] = jvp_taped(f, at(x), along(vec({d})));
  CHECK(near(backward(sum(dy))[x].item(), (2 * s - 2 * t * s * v) * d, 1e-14));
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

TEST_CASE("errors have their types and describe the problem") {
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

TEST_CASE("nothing is recorded under PauseTape") {
  Tape tape;
  const Var x = tape.variable(vec({1.0}));
  const std::size_t before = tape.size();
  {
    const PauseTape pause;
    CHECK_FALSE(exp(x).on_tape());
  }
  CHECK(tape.size() == before);
}
