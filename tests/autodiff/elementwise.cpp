// Derivative rules of every element-wise op in f64 (push, pull, second derivatives, row-limited tangents) over broadcasting shapes, and the
// f32 values against the C library over ranges and special values.
#include "autodiff/rules/elementwise.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autodiff/rules/linear.h"
#include "tests/support/op_samples.h"

using namespace fm;

namespace {

CheckOptions named(const char* name) {
  CheckOptions o;
  o.name = name;
  return o;
}

Var call(Add, const Var& a, const Var& b) { return a + b; }
Var call(Sub, const Var& a, const Var& b) { return a - b; }
Var call(Mul, const Var& a, const Var& b) { return a * b; }
Var call(Div, const Var& a, const Var& b) { return a / b; }
Var call(Maximum, const Var& a, const Var& b) { return maximum(a, b); }
Var call(Minimum, const Var& a, const Var& b) { return minimum(a, b); }

template <class... Op, class F> void for_ops(OpList<Op...>, F&& f) { (f(Op{}), ...); }
using Differentiable = OpList<Add, Sub, Mul, Div, Maximum, Minimum>;

const std::vector<std::pair<Shape, Shape>> broadcasting = {
    {{3, 4}, {3, 4}}, {{3, 4}, {4}}, {{4}, {3, 4}}, {{3, 1}, {1, 4}}, {{}, {3, 4}},      {{3, 4}, {}},
    {{3, 4}, {1, 4}}, {{1, 4}, {3, 4}}, {{2, 3, 4}, {3, 1}}, {{2, 1, 3}, {2, 5, 1}}, {{5}, {5}}, {{}, {}}, {{1, 3}, {1, 3}}};

// True if |got - want| <= 2e-6 |want| + absolute. Infinities of equal sign and NaNs count as equal.
bool close(float got, double want, double absolute) {
  const float w = static_cast<float>(want);
  if (std::isnan(w) || std::isnan(got)) return std::isnan(w) && std::isnan(got);
  if (std::isinf(w) || std::isinf(got)) return w == got;
  return std::fabs(got - want) <= 2e-6 * std::fabs(want) + absolute;
}

}  // namespace

TEST_CASE("unary operations pass all derivative checks") {
  UnaryOps::for_each([]<class Op>(Op) {
    for (const Shape& shape : {Shape{4, 5}, Shape{7}, Shape{}, Shape{3, 2, 2}})
      CHECK_NOTHROW(check_all([](const std::vector<Var>& x) { return unary<Op>(x[0]); }, {sample_for<Op>(shape, 3)}, named(op_name(Op{}))));
  });
}

TEST_CASE("binary operations pass all derivative checks over broadcast shapes") {
  for_ops(Differentiable{}, []<class Op>(Op op) {
    for (const auto& [a, b] : broadcasting)
      CHECK_NOTHROW(check_all([op](const std::vector<Var>& x) { return call(op, x[0], x[1]); },
                              {sample_for<Op>(a, 5), sample_for<Op>(b, 6)}, named(op_name(op))));
  });
}

TEST_CASE("an operation may have the same Var on both sides") {
  CHECK_NOTHROW(check_all([](const std::vector<Var>& x) { return x[0] * x[0] - x[0] / (2.0 + x[0] * x[0]); }, {sample_normal({3, 4}, 1)}));
}

TEST_CASE("affine, where, clamp, and operators with numbers pass all derivative checks") {
  const Tensor x = sample_normal({3, 4}, 11), z = sample_normal({4}, 12),
               pick = greater(sample_normal({3, 4}, 13), Tensor::zeros({}, DType::f64));
  CHECK_NOTHROW(check_all([](const std::vector<Var>& v) { return affine(v[0], -1.5, 0.25); }, {x}, named("affine")));
  CHECK_NOTHROW(
      check_all([](const std::vector<Var>& v) { return (2.0 - v[0]) / 3.0 + 0.5 * (v[0] - 1.0) - (-v[0]); }, {x}, named("numbers")));
  CHECK_NOTHROW(check_all([&](const std::vector<Var>& v) { return where(pick, v[0], v[1]); }, {x, z}, named("where")));
  CHECK_NOTHROW(check_all([](const std::vector<Var>& v) { return clamp(v[0], -0.5, 0.8); }, {x}, named("clamp")));
}

TEST_CASE("value() stops the derivative in both directions") {
  Tape tape;
  const Var x = tape.variable(sample_normal({3}, 1));
  const auto [y, dy] = jvp([](const Var& v) { return v.value() * v; }, at(x), along(1.0));
  CHECK(dy.to_vector<double>() == x.value().to_vector<double>());
  CHECK(backward(sum(y))[x].to_vector<double>() == x.value().to_vector<double>());
}

TEST_CASE("a wrong rule is found, with one line that contains the size of the error") {
  const auto wrong = [](const std::vector<Var>& x) {
    const Var y =
        record("wrong", x[0].value() * x[0].value(), {&x[0]}, [v = x[0].value()](const Tensor& gy, Cotangents& g) { g.add(0, gy * v); });
    return x[0].has_tangent() ? y.with_tangent(push([&] { return 2.0 * (x[0].without_tangent() * x[0].tangent()); })) : y;
  };
  const Tensor x = sample_normal({3}, 1);
  CHECK_NOTHROW(check_push(wrong, {x}));
  CHECK_THROWS_AS(check_pull(wrong, {x}), AutodiffError);
  std::string message;
  try {
    check_pull(wrong, {x}, named("wrong"));
  } catch (const AutodiffError& e) {
    message = e.what();
  }
  CHECK(message.find("check_pull of wrong at [3]") == 0);
  CHECK(message.find('\n') == std::string::npos);
}

TEST_CASE("f32 values agree with the C library") {
  UnaryOps::for_each([]<class Op>(Op) {
    CAPTURE(std::string(op_name(Op{})));
    const Tensor at = sample_for<Op>({1001}, 21, DType::f32), x = at.to(Device{}), y = map<Op>(at).to(Device{});
    int bad = 0;
    for (int i = 0; i < 1001; ++i)
      bad += !close(y.data<float>()[i], OpSample<Op>::reference(x.data<float>()[i]), OpSample<Op>::at.absolute);
    CHECK(bad == 0);
  });
  BinaryOps::for_each([]<class Op>(Op) {
    CAPTURE(std::string(op_name(Op{})));
    const Tensor left = sample_for<Op>({1001}, 22, DType::f32), right = sample_for<Op>({1001}, 23, DType::f32);
    const Tensor y = zip<Op>(left, right).to(Device{}), a = left.to(Device{}), b = right.to(Device{});
    int bad = 0;
    for (int i = 0; i < 1001; ++i)
      bad += !close(y.data<float>()[i], OpSample<Op>::reference(a.data<float>()[i], b.data<float>()[i]), OpSample<Op>::at.absolute);
    CHECK(bad == 0);
  });
}

TEST_CASE("f32 values at special inputs equal the C library's") {
  constexpr float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> points = {0.0f, -0.0f, 1e-30f, -1e-30f, 1e-40f, 1.0f, -1.0f, 20.0f, -20.0f, 88.0f, -88.0f, 120.0f, -120.0f,
                                     1e4f, -1e4f, 1e18f, -1e18f, 3e38f, -3e38f, inf, -inf, nan};
  const Tensor x = Tensor::from(points, {static_cast<std::int64_t>(points.size())});
  UnaryOps::for_each([&]<class Op>(Op) {
    constexpr bool periodic = std::is_same_v<Op, Sin> || std::is_same_v<Op, Cos>;     // sin and cos are accurate up to |x| = 1e6
    const auto y = map<Op>(x).template to_vector<float>();
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (periodic && std::fabs(points[i]) > 1e6f && std::isfinite(points[i])) continue;
      const double want = OpSample<Op>::reference(points[i]);
      CAPTURE(std::string(op_name(Op{})));
      CAPTURE(points[i]);
      CAPTURE(y[i]);
      CHECK(close(y[i], want, OpSample<Op>::at.absolute));
    }
  });
  BinaryOps::for_each([&]<class Op>(Op) {
    const std::int64_t n = x.dim(0);
    const auto y = zip<Op>(x.reshape({n, 1}), x).template to_vector<float>();
    for (std::size_t i = 0; i < points.size(); ++i)
      for (std::size_t j = 0; j < points.size(); ++j) {
        CAPTURE(std::string(op_name(Op{})));
        CAPTURE(points[i]);
        CAPTURE(points[j]);
        CHECK(close(y[i * points.size() + j], OpSample<Op>::reference(points[i], points[j]), 1e-37));
      }
  });
}
