// Every operation on scalars, vectors and empty lists: if the operation accepts them, all derivative checks hold, else its error names the
// operation. None of them ends the process.
#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "autodiff/check.h"
#include "autodiff/recompute.h"
#include "autodiff/rules/activation.h"
#include "autodiff/rules/attention.h"
#include "autodiff/rules/conv.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/matmul.h"
#include "autodiff/rules/norm.h"
#include "autodiff/rules/pool.h"
#include "autodiff/rules/recomputed.h"
#include "autodiff/rules/resize.h"
#include "autodiff/rules/softmax.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/index.h"
#include "tensor/ops/reduce.h"

using namespace fm;

namespace {

using Vars = std::vector<Var>;
using Tensors = std::vector<Tensor>;

Tensor normal(const Shape& shape, std::uint64_t seed) { return sample_normal(shape, seed); }

void check(const char* name, const CheckedFunction& f, const Tensors& inputs) {
  CheckOptions o;
  o.name = name;
  CHECK_NOTHROW(check_all(f, inputs, o));
}
// Checks the square of a linear operation, whose second derivatives are not zero.
void check_linear(const char* name, const CheckedFunction& f, const Tensors& inputs) {
  check(name, [&](const Vars& v) { return square(f(v)); }, inputs);
}

// Checks that f(x) throws. For a constant x the message begins with the name of the operation. With taped tangents, where a fused operation is composed
// of others, the message may begin with the name of one of these.
void refused(const std::string& op, const std::function<void(const Var&)>& f, const Tensor& x) {
  CAPTURE(op);
  const auto message = [&](const Var& v) -> std::string {
    try {
      f(v);
    } catch (const Error& e) {
      return e.what();
    }
    return "nothing thrown";
  };
  CHECK(message(x).starts_with(op));
  Tape tape;
  const detail::TangentScope scope(TangentMode::taped);
  CHECK(message(tape.variable(x).with_tangent(x)) != "nothing thrown");
}

}  // namespace

TEST_CASE("linear operations on scalars pass all derivative checks") {
  const Tensor x = normal({}, 1);
  check_linear("permute", [](const Vars& v) { return permute(v[0], {}); }, {x});
  check_linear("reshape", [](const Vars& v) { return reshape(v[0], {}); }, {x});
  check_linear("reshape to a vector", [](const Vars& v) { return reshape(v[0], {1}); }, {x});
  check_linear("reshape to a scalar", [](const Vars& v) { return reshape(v[0], {}); }, {normal({1, 1}, 1)});
  check_linear("unsqueeze", [](const Vars& v) { return unsqueeze(v[0], 0); }, {x});
  check_linear("select", [](const Vars& v) { return select(v[0], 0, 1); }, {normal({3}, 1)});
  check_linear("expand", [](const Vars& v) { return expand(v[0], {3, 2}); }, {x});
  check_linear("expand to itself", [](const Vars& v) { return expand(v[0], {}); }, {x});
  check_linear("sum", [](const Vars& v) { return sum(v[0]); }, {x});
  check_linear("sum over nothing", [](const Vars& v) { return sum(v[0], {}); }, {x});
  check_linear("sum over nothing, kept", [](const Vars& v) { return sum(v[0], {}, true); }, {x});
  check_linear("mean", [](const Vars& v) { return mean(v[0]); }, {x});
  check_linear("mean over nothing", [](const Vars& v) { return mean(v[0], {}); }, {normal({3, 2}, 1)});
  check_linear("affine", [](const Vars& v) { return 2.0 * v[0] - 1.0; }, {x});
  check_linear("cast", [](const Vars& v) { return cast(v[0], DType::f64); }, {x});
  check("recompute", [](const Vars& v) { return recompute([](const Var& a) { return permute(tanh(a), {}); }, v[0]); }, {x});
}

TEST_CASE("element-wise operations on scalars pass all derivative checks") {
  UnaryOps::for_each([]<class Op>(Op) {
    if constexpr (!std::is_same_v<Op, Abs> && !std::is_same_v<Op, Relu>)
      check(op_name(Op{}), [](const Vars& v) { return unary<Op>(v[0]); }, {sample_uniform({}, 0.5, 1.5, 1)});
  });
  const Tensor a = sample_uniform({}, 0.5, 1.5, 1), b = sample_uniform({}, 2, 3, 2), m = sample_uniform({3, 2}, 2, 3, 3), w = sample_uniform({2}, 2, 3, 4);
  const std::vector<std::pair<const char*, Var (*)(const Var&, const Var&)>> binary{
      {"add", add}, {"sub", sub}, {"mul", mul}, {"div", div}, {"maximum", maximum}, {"minimum", minimum}};
  for (const auto& [name, op] : binary)
    for (const Tensors& inputs : {Tensors{a, b}, Tensors{a, m}, Tensors{m, a}, Tensors{a, w}, Tensors{w, a}})
      check(name, [op = op](const Vars& v) { return square(op(v[0], v[1])); }, inputs);
  const Tensor yes = Tensor::ones({}, DType::f64);
  check("where", [&](const Vars& v) { return square(where(yes, v[0], v[1])); }, {a, m});
  check("clamp", [&](const Vars& v) { return square(clamp(v[0], 0, 2)); }, {a});
}

TEST_CASE("products of vectors pass all derivative checks") {
  const Tensor x = normal({4}, 1), w = normal({3, 4}, 2), b = normal({3}, 3);
  check("linear of a vector", [](const Vars& v) { return square(linear(v[0], v[1])); }, {x, w});
  check("linear of a vector with a bias", [](const Vars& v) { return square(linear(v[0], v[1], v[2])); }, {x, w, b});
  check("linear of a recomputed vector",
        [](const Vars& v) { return square(linear(Recomputed{[](const Vars& u) { return tanh(u[0]); }, {v[0]}}, v[1], v[2])); }, {x, w, b});
  const Tensor y = linear(x, w, b), rows = linear(x.unsqueeze(0), w, b).squeeze(0);
  CHECK(y.shape() == Shape{3});
  CHECK(y.to_vector<double>() == rows.to_vector<double>());
}

TEST_CASE("fused operations on vectors pass all derivative checks") {
  const Tensor x = normal({6}, 1), w = normal({6}, 2), b = normal({6}, 3);
  check("softmax", [](const Vars& v) { return softmax(v[0]); }, {x});
  check("log_softmax", [](const Vars& v) { return log_softmax(v[0]); }, {x});
  const Tensor label = Tensor::scalar(2, DType::i64), p = softmax(normal({6}, 4));
  check("cross_entropy of a class", [&](const Vars& v) { return cross_entropy(v[0], label); }, {x});
  check("cross_entropy of probabilities", [&](const Vars& v) { return cross_entropy(v[0], p); }, {x});
  check("swiglu", [](const Vars& v) { return swiglu(v[0]); }, {x});
  check("layer_norm", [](const Vars& v) { return layer_norm(v[0], v[1], v[2], 1e-3); }, {x, w, b});
  check("rms_norm", [](const Vars& v) { return rms_norm(v[0], v[1], 1e-3); }, {x, w});
  check("layer_norm_modulate", [](const Vars& v) { return layer_norm_modulate(v[0], {}, {}, v[1], v[2], 1e-3); }, {x, w, b});
  check("gated_residual", [](const Vars& v) { return gated_residual(v[0], v[1], v[2]); }, {x, w, b});
}

TEST_CASE("linear operations on vectors pass all derivative checks") {
  const Tensor x = normal({4}, 1);
  check_linear("permute", [](const Vars& v) { return permute(v[0], {0}); }, {x});
  check_linear("transpose", [](const Vars& v) { return transpose(v[0], 0, -1); }, {x});
  check_linear("slice", [](const Vars& v) { return slice(v[0], 0, 1, 3); }, {x});
  check_linear("slice of nothing", [](const Vars& v) { return sum(slice(v[0], 0, 1, 1)) + sum(v[0]); }, {x});
  check_linear("chunk", [](const Vars& v) { return chunk(v[0], 2)[1]; }, {x});
  check_linear("concat", [](const Vars& v) { return concat({v[0], v[1]}, 0); }, {x, normal({2}, 2)});
  check_linear("concat of one", [](const Vars& v) { return concat({v[0]}, 0); }, {x});
  check_linear("pad", [](const Vars& v) { return pad(v[0], 0, 1, 2); }, {x});
  check_linear("pad by nothing", [](const Vars& v) { return pad(v[0], 0, 0, 0); }, {x});
  check_linear("gather", [](const Vars& v) { return gather(v[0], Tensor::from<std::int64_t>({1, 1, 3}, {3})); }, {x});
  check_linear("gather of nothing", [](const Vars& v) { return sum(gather(v[0], Tensor::zeros({0}, DType::i64))) + sum(v[0]); }, {x});
  check_linear("resample", [](const Vars& v) { return resample(v[0], 0, resampling(4, 7, Interpolation::bilinear)); }, {x});
  check_linear("sum", [](const Vars& v) { return sum(v[0], {0}); }, {x});
  check_linear("mean, kept", [](const Vars& v) { return mean(v[0], {0}, true); }, {x});
}

TEST_CASE("scalars and empty lists are refused by operations that cannot take them") {
  const Tensor x = normal({}, 1), weight = normal({3, 4}, 2);
  refused("permute", [](const Var& v) { permute(v, {0}); }, x);
  refused("permute", [](const Var& v) { permute(v, {}); }, normal({2}, 1));
  refused("transpose", [](const Var& v) { transpose(v, 0, 0); }, x);
  refused("slice", [](const Var& v) { slice(v, 0, 0, 1); }, x);
  refused("select", [](const Var& v) { select(v, 0, 0); }, x);
  refused("chunk", [](const Var& v) { chunk(v, 1); }, x);
  refused("concat", [](const Var& v) { concat({v, v}, 0); }, x);
  refused("concat", [](const Var&) { concat(Vars{}, 0); }, x);
  refused("pad", [](const Var& v) { pad(v, 0, 1, 1); }, x);
  refused("sum", [](const Var& v) { sum(v, {0}); }, x);
  refused("mean", [](const Var& v) { mean(v, {0}); }, x);
  refused("gather", [](const Var& v) { gather(v, Tensor::zeros({1}, DType::i64)); }, x);
  refused("linear", [&](const Var& v) { linear(v, weight); }, x);
  refused("linear", [&](const Var& v) { linear(weight, v); }, x);
  refused("matmul", [&](const Var& v) { matmul(v, weight); }, x);
  refused("matmul", [&](const Var& v) { matmul(weight, v); }, normal({4}, 1));
  refused("conv2d", [&](const Var& v) { conv2d(v, v, {}); }, x);
  refused("max_pool2d", [](const Var& v) { max_pool2d(v, {2, 2, 0}); }, x);
  refused("avg_pool2d", [](const Var& v) { avg_pool2d(v, {2, 2, 0}, PoolCount::all); }, x);
  refused("softmax", [](const Var& v) { softmax(v); }, x);
  refused("log_softmax", [](const Var& v) { log_softmax(v); }, x);
  refused("cross_entropy", [](const Var& v) { cross_entropy(v, Tensor::zeros({}, DType::i64)); }, x);
  refused("swiglu", [](const Var& v) { swiglu(v); }, x);
  refused("layer_norm", [](const Var& v) { layer_norm(v, {}, {}, 1e-6); }, x);
  refused("rms_norm", [](const Var& v) { rms_norm(v, {}, 1e-6); }, x);
  refused("gated_residual", [](const Var& v) { gated_residual(v, v, v); }, x);
  refused("attention_qkv", [](const Var& v) { attention_qkv(v, 1); }, x);
  refused("attention", [](const Var& v) { attention(v, v, v); }, x);
  refused("rope_qkv", [](const Var& v) { rope_qkv(v, 1, Tensor::ones({1, 2}), Tensor::ones({1, 2})); }, x);
  refused("resample", [](const Var& v) { resample(v, 0, resampling(1, 2, Interpolation::bilinear)); }, x);
  refused("resize", [](const Var& v) { resize(v, 2, 2, Interpolation::bilinear); }, x);
  CHECK_THROWS_AS(max(x, 0), ShapeError);
  CHECK_THROWS_AS(argmax(x, 0), ShapeError);
  CHECK_THROWS_AS(scatter_add(x, Tensor::zeros({1}, DType::i64), {1}), ShapeError);
  CHECK_THROWS_AS(x.rows(), ShapeError);
  CHECK_THROWS_AS(x.flatten(0, 0), ShapeError);
  CHECK_THROWS_AS(normal({2, 3}, 1).flatten(1, 0), ShapeError);
  CHECK_THROWS_AS(one_hot(Tensor::zeros({1}, DType::i64), -1, DType::f32), ShapeError);
  CHECK_THROWS_AS(split_qkv(normal({1, 1, 6}, 1), 1 << 30), ShapeError);
}

TEST_CASE("recompute works without inputs, and with an f that returns its argument") {
  Parameter p{normal({3}, 1)};
  Tape tape;
  const Var x = tape.variable(normal({3}, 2));
  const Var y = recompute([&](const Vars&) { return square(Var(p)); }, Vars{});
  const Var z = recompute([](const Var& v) { return v; }, x);
  const Gradients g = backward(sum(y * z));
  CHECK(g[p].to_vector<double>() == (p.value * x.value() * 2.0).to_vector<double>());
  CHECK(g[x].to_vector<double>() == square(p.value).to_vector<double>());
}
