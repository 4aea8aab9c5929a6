// Cases where f32 arithmetic would lose digits or leave its range: large angles, rows of logits with an offset, squares beyond 3.4e38, rows of norms
// far from zero, long sums. All against f64, with bounds of a few times the observed error; on every instruction set.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "autodiff/jvp.h"
#include "autodiff/rules/activation.h"
#include "autodiff/rules/attention.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/norm.h"
#include "autodiff/rules/softmax.h"
#include "tensor/error.h"
#include "tensor/ops/reduce.h"
#include "tests/support/kernel_check.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

using Vars = std::vector<Var>;
using Function = std::function<Var(const Vars&)>;

double root_mean_square(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double difference = 0, scale = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    difference += (x[i] - y[i]) * (x[i] - y[i]);
    scale += y[i] * y[i];
  }
  return std::sqrt(difference / scale);
}

struct Derivatives {
  Tensor value, tangent;
  std::vector<Tensor> gradients;
};

// The result of f at inputs of f32 numbers, computed in `dtype`.
Derivatives derivatives(const Function& f, const std::vector<Tensor>& inputs, DType dtype) {
  Derivatives out;
  {
    const detail::TangentScope scope(TangentMode::constant);
    Vars x;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      x.push_back(Var(inputs[i].to(dtype)).with_tangent(normal(inputs[i].shape(), 50 + i, DType::f32).to(dtype)));
    const Var y = f(x);
    out.value = y.value();
    out.tangent = y.tangent().value();
  }
  Tape tape;
  Vars x;
  for (const Tensor& in : inputs) x.push_back(tape.variable(in.to(dtype)));
  const Var y = f(x);
  const Gradients g = tape.backward({{y, normal(y.shape(), 99, DType::f32).to(dtype)}});
  for (const Var& v : x) out.gradients.push_back(g[v]);
  return out;
}

// Root mean square errors of f32 against f64, relative.
void check_errors(const Function& f, const std::vector<Tensor>& inputs, double value, double tangent, double gradient) {
  const Derivatives want = derivatives(f, inputs, DType::f64);
  each_isa([&](const std::string& isa) {
    CAPTURE(isa);
    const Derivatives got = derivatives(f, inputs, DType::f32);
    CHECK(root_mean_square(got.value, want.value) < value);
    CHECK(root_mean_square(got.tangent, want.tangent) < tangent);
    for (std::size_t i = 0; i < inputs.size(); ++i) CHECK(root_mean_square(got.gradients[i], want.gradients[i]) < gradient);
  });
}

Tensor floats(const std::vector<float>& v) { return Tensor::from(v, {static_cast<std::int64_t>(v.size())}).to(default_device()); }

}  // namespace

TEST_CASE("sin and cos of arguments of any size") {
  std::vector<float> angles{0.0f, 1.0f, 1048576.0f, 1048577.0f, -1048577.0f, 1e7f, -3e9f, 3.5e15f, 4e15f, 1e19f, -1e19f, 1e30f, 3e38f, -3.4e38f};
  for (int i = 0; i < 400; ++i) angles.push_back(static_cast<float>(std::ldexp(1.0 + i / 401.0, i % 128)));     // every exponent
  const Tensor x = floats(angles), g = normal(x.shape(), 3, DType::f32);
  const auto gs = g.to_vector<double>();
  each_isa([&](const std::string& isa) {
    CAPTURE(isa);
    Tensor y, dy;
    map_dual<Sin>(x, g, y, dy);
    const auto s = sin(x).to_vector<double>(), c = cos(x).to_vector<double>(), dual_y = y.to_vector<double>(), dual_dy = dy.to_vector<double>(),
               slope = map_slope<Cos>(x, g).to_vector<double>(), curvature = map_curvature<Sin>(x, g, g).to_vector<double>();
    for (std::size_t i = 0; i < angles.size(); ++i) {
      CAPTURE(angles[i]);
      const double want_s = std::sin(static_cast<double>(angles[i])), want_c = std::cos(static_cast<double>(angles[i]));
      CHECK(std::fabs(s[i] - want_s) < 1.2e-7);
      CHECK(std::fabs(c[i] - want_c) < 1.2e-7);
      CHECK(dual_y[i] == s[i]);
      CHECK(std::fabs(dual_dy[i] - want_c * gs[i]) < 2.4e-7 * std::fabs(gs[i]));
      CHECK(std::fabs(slope[i] + want_s * gs[i]) < 2.4e-7 * std::fabs(gs[i]));
      CHECK(std::fabs(curvature[i] + want_s * gs[i] * gs[i]) < 4e-7 * gs[i] * gs[i]);
    }
    const auto endless = sin(floats({HUGE_VALF, -HUGE_VALF, NAN})).to_vector<double>();
    for (double v : endless) CHECK(std::isnan(v));
    CHECK(near(cos(floats({1e19f}).to(DType::bf16)).to_vector<double>()[0], std::cos(static_cast<double>(float(bf16(1e19f)))), 4e-3));
  });
}

TEST_CASE("log-softmax and cross-entropy are as accurate with an offset added to all logits as without") {
  const std::int64_t rows = 64, classes = 1000;
  const Tensor labels = Tensor::arange(rows, DType::i64), p = softmax(normal({rows, classes}, 7, DType::f32));
  for (const double offset : {0.0, 30.0, 300.0, 3000.0, 1e6}) {
    CAPTURE(offset);
    const Tensor x = normal({rows, classes}, 1, DType::f32) + offset;
    check_errors([](const Vars& v) { return log_softmax(v[0]); }, {x}, 1e-7, 1e-7, 1e-7);
    check_errors([&](const Vars& v) { return cross_entropy(v[0], labels); }, {x}, 1e-7, 1e-7, 1e-7);
    check_errors([&](const Vars& v) { return cross_entropy(v[0], p.to(v[0].dtype())); }, {x}, 2e-7, 8e-7, 3e-7);
  }
}

TEST_CASE("log-softmax and cross-entropy are accurate where the spacing of floats at a row's offset exceeds the logarithm") {
  each_isa([](const std::string& isa) {
    CAPTURE(isa);
    for (const DType dtype : {DType::f32, DType::f64}) {
      const double offset = dtype == DType::f32 ? 1e7 : 1e15, relative = dtype == DType::f32 ? 3e-7 : 1e-15;
      Tape tape;
      const Var x = tape.variable(Tensor::from(std::vector<double>{offset, offset + 1, offset + 2}, {1, 3}).to(default_device()).to(dtype));
      const auto y = log_softmax(x.value()).to_vector<double>();
      const double sum = 1 + std::exp(-1.0) + std::exp(-2.0);
      for (int i = 0; i < 3; ++i) CHECK(near(y[i], i - 2 - std::log(sum), relative));
      const Var loss = fm::sum(cross_entropy(x, Tensor::from<std::int64_t>({2}, {1}).to(default_device())));
      CHECK(near(loss.value().item(), std::log(sum), relative));
      const auto g = backward(loss)[x].to_vector<double>();
      for (int i = 0; i < 3; ++i) CHECK(near(g[i], std::exp(i - 2.0) / sum - (i == 2), 2 * relative));
      CHECK(std::fabs(g[0] + g[1] + g[2]) < relative);
    }
  });
}

TEST_CASE("log-softmax with a logit of -infinity or NaN, and cross-entropy of a single class") {
  const Tensor y = log_softmax(floats({-HUGE_VALF, 1, 2}).reshape({1, 3}));
  const auto values = y.to_vector<double>();
  CHECK(values[0] == -HUGE_VAL);
  CHECK(near(values[2], -std::log(1 + std::exp(-1.0)), 2e-7));
  CHECK(cross_entropy(floats({5e8f}).reshape({1, 1}), Tensor::zeros({1}, DType::i64)).item() == 0);
  CHECK(std::isnan(log_softmax(floats({NAN, 1}).reshape({1, 2})).to_vector<double>()[1]));
}

TEST_CASE("derivatives of GELU, SiLU and SwiGLU lose no digits where the sigmoid is near 1") {
  const Tensor x = affine(random_uniform({20000}, {.seed = 1}), 12, -6);
  check_errors([](const Vars& v) { return gelu_tanh(v[0]); }, {x}, 1e-7, 2e-7, 2e-7);
  check_errors([](const Vars& v) { return silu(v[0]); }, {x}, 1e-7, 1e-7, 1e-7);
  check_errors([](const Vars& v) { return swiglu(v[0]); }, {affine(random_uniform({100, 200}, {.seed = 1}), 24, -12)}, 1.2e-7, 1.2e-7, 1.2e-7);
  // Where e^-2u overflows or underflows, the slope is its limit.
  const auto far = map_slope<GeluTanh>(floats({-40, 40, -1e30f, 1e30f}), floats({1, 1, 1, 1})).to_vector<double>();
  CHECK(far[0] == 0);
  CHECK(far[1] == 1);
  const auto silu_far = map_slope<Silu>(floats({-200, 200, -HUGE_VALF}), floats({1, 1, 1})).to_vector<double>();
  CHECK(silu_far[0] == 0);
  CHECK(silu_far[1] == 1);
}

TEST_CASE("softmax and norms of long rows are accurate") {
  check_errors([](const Vars& v) { return softmax(v[0]); }, {normal({8, 4096}, 1, DType::f32)}, 1.2e-7, 1.2e-7, 1.2e-7);
  check_errors([](const Vars& v) { return layer_norm(v[0], {}, {}, 1e-6); }, {normal({8, 4096}, 1, DType::f32)}, 1e-7, 1e-7, 1e-7);
  check_errors([](const Vars& v) { return rms_norm(v[0], {}, 1e-6); }, {normal({8, 4096}, 1, DType::f32)}, 1e-7, 1e-7, 1e-7);
}

// The mean of such a row is rounded to 5e-4; this rounding is the only remaining error.
TEST_CASE("layer norm of rows with a large mean") {
  const auto f = [](const Vars& v) { return layer_norm(v[0], {}, {}, 1e-6); };
  check_errors(f, {normal({256, 384}, 1, DType::f32) + 1e4}, 4e-4, 3e-5, 3e-5);
  check_errors(f, {normal({256, 384}, 1, DType::f32) + 100.0}, 4e-6, 4e-7, 4e-7);
}

TEST_CASE("norms of rows whose squares are beyond f32") {
  each_isa([](const std::string& isa) {
    CAPTURE(isa);
    for (const double size : {1e18, 3e19, 1e30, 1e37}) {
      CAPTURE(size);
      const Tensor x = normal({4, 33}, 1, DType::f32) * size, wide = x.to(DType::f64);
      CHECK(root_mean_square(rms_norm(x, {}, 1e-6), rms_norm(wide, {}, 1e-6)) < 3e-7);
      CHECK(root_mean_square(layer_norm(x, {}, {}, 1e-6), layer_norm(wide, {}, {}, 1e-6)) < 3e-7);
    }
    CHECK(std::isnan(sum(rms_norm(floats({1, NAN, 2}).reshape({1, 3}), {}, 1e-6)).item()));
    CHECK(std::isnan(sum(layer_norm(floats({1, HUGE_VALF, 2}).reshape({1, 3}), {}, {}, 1e-6)).item()));
  });
}

TEST_CASE("sums of squares and all_finite over the whole range of each type") {
  each_isa([](const std::string& isa) {
    CAPTURE(isa);
    for (const std::int64_t n : {4, 5000, 40000}) {
      CAPTURE(n);
      for (const double size : {1e-40, 3e-30, 1e-20, 1.0, 1e15, 2e19, 3e38}) {
        CAPTURE(size);
        const double x = static_cast<float>(size);
        CHECK(near(sum_squares(Tensor::full({n}, size)), static_cast<double>(n) * x * x, 2e-5));
        CHECK(all_finite(Tensor::full({n}, size)));
      }
      CHECK(all_finite(Tensor::full({n}, 2e19, DType::bf16)));
      CHECK(all_finite(Tensor::full({n}, 1.7e308, DType::f64)));
      for (const DType dtype : {DType::f32, DType::f64, DType::bf16})
        for (const double bad : {HUGE_VAL, -HUGE_VAL, std::nan("")}) {
          const Tensor t = Tensor::full({n}, 1e18, dtype);
          t.slice(0, n - 1, n).fill(bad);
          CHECK_FALSE(all_finite(t));
        }
    }
    CHECK(all_finite(Tensor::arange(5, DType::i64)));
    CHECK(all_finite(Tensor::zeros({0})));
    CHECK(all_finite(Tensor::full({3, 1}, 3e38).expand({3, 7}).transpose(0, 1)));
  });
  CHECK_THROWS_AS(all_finite(Tensor()), Error);
}

TEST_CASE("attention with 8192 keys, and with scores in the thousands") {
  const auto f = [](const Vars& v) { return attention(v[0], v[1], v[2]); };
  const auto n = [](const Shape& s, std::uint64_t seed) { return normal(s, seed, DType::f32); };
  const double order = default_device().is_cuda() ? 5 : 1;                        // a GPU adds the keys one after the other
  check_errors(f, {n({1, 1, 16, 32}, 1), n({1, 1, 8192, 32}, 2), n({1, 1, 8192, 32}, 3)}, 5e-7 * order, 6e-7 * order, 6e-7 * order);
  // A score of s already has an error of 1e-7 s from its product.
  check_errors(f, {n({1, 2, 64, 64}, 1) * 30.0, n({1, 2, 64, 64}, 2) * 30.0, n({1, 2, 64, 64}, 3)}, 5e-5, 6e-4, 9e-4);
}
