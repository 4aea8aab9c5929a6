// Operations on tensors without elements: values, tangents and cotangents have the right shapes, empty sums are 0, and nothing crashes.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "autodiff/jvp.h"
#include "autodiff/rules/activation.h"
#include "autodiff/rules/attention.h"
#include "autodiff/rules/conv.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/matmul.h"
#include "autodiff/rules/norm.h"
#include "autodiff/rules/pool.h"
#include "autodiff/rules/resize.h"
#include "autodiff/rules/softmax.h"
#include "tests/support/tensors.h"

using namespace fm;
using fm::test::max_difference;

namespace {

// Checks the shapes of f's value, gradients and tangent for inputs of ones. If the value has no elements, the gradients must be zero.
void check(const char* name, const std::function<Var(const std::vector<Var>&)>& f, const std::vector<Shape>& inputs,
           const Shape& expected) {
  CAPTURE(name);
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
    std::vector<Tensor> x;
    for (const Shape& s : inputs) x.push_back(Tensor::ones(s, dtype));
    CHECK(f({x.begin(), x.end()}).shape() == expected);
    {
      Tape tape;
      std::vector<Var> leaves;
      for (const Tensor& t : x) leaves.push_back(tape.variable(t));
      const Var y = f(leaves);
      const Gradients g = tape.backward({{y, Tensor::ones(y.shape(), dtype)}});
      for (std::size_t i = 0; i < x.size(); ++i) {
        REQUIRE(g[leaves[i]].defined());
        CHECK(g[leaves[i]].shape() == inputs[i]);
        if (expected.numel() == 0)
          for (double v : g[leaves[i]].to_vector<double>()) CHECK(v == 0);
      }
    }
    Tape tape;
    std::vector<Var> moving;
    for (const Tensor& t : x) moving.push_back(Var(t).with_tangent(Tensor::ones(t.shape(), dtype)));
    const Var y = f(moving);
    CHECK(y.full_tangent().shape() == expected);
  }
}

}  // namespace

TEST_CASE("products of empty tensors have the right shapes, gradients and tangents") {
  const auto f = [](const auto& x) { return matmul(x[0], x[1]); };
  check("no rows", f, {{0, 3}, {3, 4}}, {0, 4});
  check("no terms", f, {{2, 0}, {0, 4}}, {2, 4});
  check("no columns", f, {{2, 3}, {3, 0}}, {2, 0});
  check("no batch", f, {{0, 2, 3}, {3, 4}}, {0, 2, 4});
  check("no batch of either", f, {{0, 2, 3}, {0, 3, 4}}, {0, 2, 4});
  check("no terms in a batch", f, {{5, 2, 0}, {0, 4}}, {5, 2, 4});
  check("no batch times one", f, {{0, 2, 3}, {1, 3, 4}}, {0, 2, 4});
  const auto affine_map = [](const auto& x) { return linear(x[0], x[1], x[2]); };
  check("linear, no samples", affine_map, {{0, 5, 3}, {4, 3}, {4}}, {0, 5, 4});
  check("linear, no inputs", affine_map, {{2, 5, 0}, {4, 0}, {4}}, {2, 5, 4});
  check("linear, no outputs", affine_map, {{2, 5, 3}, {0, 3}, {0}}, {2, 5, 0});
  CHECK(max_difference(linear(Tensor::ones({2, 0}), Tensor::ones({3, 0}), Tensor::arange(3)), Tensor::arange(3).expand({2, 3})) == 0);
  CHECK(sum_squares(matmul(Tensor::ones({2, 0}), Tensor::ones({0, 3}))) == 0);
  check("conv2d", [](const auto& x) { return conv2d(x[0], x[1], x[2], 1, 1); }, {{0, 2, 5, 5}, {3, 2, 3, 3}, {3}}, {0, 3, 5, 5});
  check("max_pool2d, no images", [](const auto& x) { return max_pool2d(x[0], {3, 2, 1}); }, {{0, 2, 5, 6}}, {0, 2, 3, 3});
  check("max_pool2d, no channels", [](const auto& x) { return max_pool2d(x[0], {2, 2, 0}); }, {{2, 0, 5, 6}}, {2, 0, 2, 3});
  check("avg_pool2d, no images", [](const auto& x) { return avg_pool2d(x[0], {3, 1, 1}, PoolCount::inside); }, {{0, 2, 5, 6}}, {0, 2, 5, 6});
}

TEST_CASE("attention of empty tensors has the right shapes, gradients and tangents") {
  const auto f = [](const auto& x) { return attention(x[0], x[1], x[2]); };
  check("no queries", f, {{2, 3, 0, 4}, {2, 3, 5, 4}, {2, 3, 5, 4}}, {2, 3, 0, 4});
  check("no samples", f, {{0, 3, 6, 4}, {0, 3, 5, 4}, {0, 3, 5, 4}}, {0, 3, 6, 4});
  check("no heads", f, {{2, 0, 6, 4}, {2, 0, 5, 4}, {2, 0, 5, 4}}, {2, 0, 6, 4});
  check("packed, no tokens", [](const auto& x) { return attention_qkv(x[0], 2); }, {{3, 0, 24}}, {3, 0, 8});
  check("packed, no samples", [](const auto& x) { return attention_qkv(x[0], 2); }, {{0, 5, 24}}, {0, 5, 8});
  const Tensor q = Tensor::ones({2, 3, 6, 4}), none = Tensor::ones({2, 3, 0, 4});
  CHECK_THROWS_WITH_AS(attention(q, none, none), "attention: there must be at least one key, and heads at least one channel wide, but k is [2, 3, 0, 4]", ShapeError);
  const Tensor table = Tensor::ones({5, 4});
  check("rope", [&](const auto& x) { return rope_qkv(x[0], 2, table, table); }, {{0, 5, 24}}, {0, 5, 24});
}

TEST_CASE("norms, softmax and gates of empty tensors have the right shapes, gradients and tangents") {
  check("softmax", [](const auto& x) { return softmax(x[0]); }, {{0, 3}}, {0, 3});
  check("softmax, inner", [](const auto& x) { return softmax(x[0]); }, {{2, 0, 3}}, {2, 0, 3});
  check("log_softmax", [](const auto& x) { return log_softmax(x[0]); }, {{0, 3}}, {0, 3});
  const Tensor labels = Tensor::zeros({0}, DType::i64);
  check("cross_entropy", [&](const auto& x) { return cross_entropy(x[0], labels); }, {{0, 3}}, {0});
  check("layer_norm", [](const auto& x) { return layer_norm(x[0], x[1], x[2], 1e-6); }, {{0, 5, 3}, {3}, {3}}, {0, 5, 3});
  check("rms_norm", [](const auto& x) { return rms_norm(x[0], x[1], 1e-6); }, {{2, 0, 3}, {3}}, {2, 0, 3});
  const auto modulated = [](const auto& x) { return layer_norm_modulate(x[0], x[1], x[2], x[3], x[4], 1e-6); };
  check("modulated by sample", modulated, {{0, 5, 3}, {3}, {3}, {0, 3}, {0, 3}}, {0, 5, 3});
  check("modulated by token", modulated, {{0, 5, 3}, {3}, {3}, {0, 5, 3}, {0, 5, 3}}, {0, 5, 3});
  check("modulated, no tokens", modulated, {{2, 0, 3}, {3}, {3}, {2, 3}, {2, 3}}, {2, 0, 3});
  check("swiglu", [](const auto& x) { return swiglu(x[0]); }, {{0, 6}}, {0, 3});
  check("gated residual", [](const auto& x) { return gated_residual(x[0], x[1], x[2]); }, {{0, 5, 3}, {0, 5, 3}, {0, 3}}, {0, 5, 3});
  check("gated residual, no tokens", [](const auto& x) { return gated_residual(x[0], x[1], x[2]); }, {{2, 0, 3}, {2, 0, 3}, {2, 3}},
        {2, 0, 3});
  CHECK_THROWS_AS(softmax(Tensor::ones({2, 0})), ShapeError);
  CHECK_THROWS_AS(log_softmax(Tensor::ones({2, 0})), ShapeError);
  CHECK_THROWS_AS(layer_norm(Tensor::ones({2, 0}), {}, {}, 1e-6), ShapeError);
}

TEST_CASE("reductions of empty tensors have the right shapes, gradients and tangents") {
  check("sum of no rows", [](const auto& x) { return sum(x[0], {0}); }, {{0, 3}}, {3});
  check("sum of no columns", [](const auto& x) { return sum(x[0], {1}); }, {{3, 0}}, {3});
  check("sum of no rows, kept", [](const auto& x) { return sum(x[0], {0}, true); }, {{0, 3}}, {1, 3});
  check("sum in no rows", [](const auto& x) { return sum(x[0], {1}); }, {{0, 3}}, {0});
  check("sum of all", [](const auto& x) { return sum(x[0]); }, {{2, 0, 3}}, {});
  CHECK(sum(Tensor::ones({2, 0, 3})).item() == 0);
  CHECK(sum_squares(sum(Tensor::ones({0, 3}), {0})) == 0);
  CHECK(sum_squares(Tensor::ones({0})) == 0);
  CHECK(all_finite(Tensor::ones({0})));
  CHECK(std::isnan(mean(Tensor::ones({0, 3})).item()));
  CHECK(mean(Tensor::ones({0, 3}), {1}).shape() == Shape{0});
  CHECK(max(Tensor::ones({0, 3}), 1).shape() == Shape{0});
  CHECK(argmax(Tensor::ones({0, 3}), 1).shape() == Shape{0});
  CHECK_THROWS_WITH_AS(max(Tensor::ones({2, 0}), 1), "max: dimension 1 of [2, 0] is empty", ShapeError);
  CHECK_THROWS_WITH_AS(argmax(Tensor::ones({2, 0}), 1), "argmax: dimension 1 of [2, 0] is empty", ShapeError);
}

TEST_CASE("element-wise operations, views and copies of empty tensors have the right shapes, gradients and tangents") {
  check("broadcast of one", [](const auto& x) { return x[0] * x[1]; }, {{0, 3}, {1, 3}}, {0, 3});
  check("broadcast of a scalar", [](const auto& x) { return exp(x[0]) + x[1]; }, {{2, 0}, {}}, {2, 0});
  check("concat", [](const auto& x) { return concat({x[0], x[1]}, 0); }, {{0, 3}, {2, 3}}, {2, 3});
  check("concat of nothing", [](const auto& x) { return concat({x[0], x[1]}, 1); }, {{0, 3}, {0, 2}}, {0, 5});
  check("slice", [](const auto& x) { return slice(x[0], 0, 1, 1); }, {{2, 3}}, {0, 3});
  check("reshape", [](const auto& x) { return reshape(x[0], {4, 0}); }, {{0, 3}}, {4, 0});
  check("transpose", [](const auto& x) { return transpose(x[0], 0, 1); }, {{0, 3}}, {3, 0});
  check("pad", [](const auto& x) { return pad(x[0], 0, 1, 1); }, {{0, 3}}, {2, 3});
  CHECK_THROWS_AS(Tensor::ones({0, 3}) * Tensor::ones({2, 3}), ShapeError);
  CHECK(Tensor::from(std::vector<double>{}, {0, 3}).to_vector<float>().empty());
  CHECK(Tensor::ones({0, 3}).transpose(0, 1).contiguous().shape() == Shape{3, 0});
}
