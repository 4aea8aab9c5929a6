// Fused rules: push, pull, taped tangents and row-limited tangents in f64; value, push and pull against the reference compositions; f32 and
// bf16 against f64.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <optional>

#include "autodiff/check.h"
#include "autodiff/rules/activation.h"
#include "autodiff/rules/attention.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/group_norm.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/matmul.h"
#include "autodiff/rules/norm.h"
#include "autodiff/rules/softmax.h"
#include "tensor/ops/index.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

using Vars = std::vector<Var>;
using Tensors = std::vector<Tensor>;

// Returns the largest difference divided by the largest element of b. If b is zero (the derivative of softmax over one key), returns the difference
// itself, because the inputs are of order 1.
double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double worst = 0, scale = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    worst = worse(worst, std::fabs(x[i] - y[i]));
    scale = std::max(scale, std::fabs(y[i]));
  }
  return worst / (scale > 0 ? scale : 1);
}

std::vector<DType> types_of(const Tensors& x) {
  std::vector<DType> out;
  for (const Tensor& t : x) out.push_back(t.dtype());
  return out;
}

// Returns value, tangent and cotangents of f. Directions are fixed and rounded to `types`; the cotangent of the output is rounded to `result`.
Tensors run(const CheckedFunction& f, const Tensors& inputs, const std::vector<DType>& types, std::optional<DType> result = {}) {
  Tape tape;
  Vars leaves, x;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    leaves.push_back(tape.variable(inputs[i]));
    x.push_back(leaves[i].with_tangent(sample_normal(inputs[i].shape(), 900 + i).to(types[i]).to(inputs[i].dtype())));
  }
  const detail::TangentScope scope(TangentMode::constant);
  const Var y = f(x);
  const Gradients g = tape.backward({{y.without_tangent(), sample_normal(y.shape(), 999).to(result.value_or(y.dtype())).to(y.dtype())}});
  Tensors out{y.value(), y.full_tangent()};
  for (const Var& leaf : leaves) out.push_back(g[leaf]);
  return out;
}

Tensors run(const CheckedFunction& f, const Tensors& inputs) { return run(f, inputs, types_of(inputs)); }

Tensors cast_all(const Tensors& x, DType dtype) {
  Tensors out;
  for (const Tensor& t : x) out.push_back(t.to(dtype));
  return out;
}

void same(const Tensors& a, const Tensors& b, double tolerance) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CAPTURE(i);
    CHECK(largest_difference(a[i], b[i]) < tolerance);
  }
}

// Runs all checks of one fused op. `reference` may be null.
void check(const std::string& name, const CheckedFunction& f, const CheckedFunction& reference, const Tensors& inputs) {
  CAPTURE(name);
  CheckOptions o;
  o.name = name;
  CHECK_NOTHROW(check_all(f, inputs, o));
  if (reference) same(run(f, inputs), run(reference, inputs), 1e-11);
  const Tensors exact = run(f, cast_all(cast_all(inputs, DType::f32), DType::f64));
  same(run(f, cast_all(inputs, DType::f32)), exact, 2e-5);
  const Tensors rounded = cast_all(inputs, DType::bf16);
  const Tensors half = run(f, rounded);
  CHECK(half[0].dtype() == DType::bf16);
  same(half, run(f, cast_all(rounded, DType::f64)), 0.04);
}

}  // namespace

TEST_CASE("layer_norm and rms_norm agree with their references") {
  for (const Shape& shape : {Shape{3, 5, 7}, Shape{4, 33}, Shape{9}, Shape{2, 1, 3, 16}}) {
    const std::int64_t c = shape.back();
    const Tensor x = normal(shape, 1), w = normal({c}, 2), b = normal({c}, 3);
    for (const NormKind kind : {NormKind::layer, NormKind::rms}) {
      const auto call = [=](const Var& v, const Var& weight, const Var& bias) {
        return kind == NormKind::layer ? layer_norm(v, weight, bias, 1e-5) : rms_norm(v, weight, 1e-5);
      };
      const auto reference = [=](const Var& v, const Var& weight, const Var& bias) {
        return norm_reference({kind, 1e-5, v.dtype()}, v, weight, bias, {}, {});
      };
      const std::string name = kind == NormKind::layer ? "layer_norm" : "rms_norm";
      check(name, [=](const Vars& v) { return call(v[0], {}, {}); }, [=](const Vars& v) { return reference(v[0], {}, {}); }, {x});
      check(
          name + " with weight", [=](const Vars& v) { return call(v[0], v[1], {}); },
          [=](const Vars& v) { return reference(v[0], v[1], {}); }, {x, w});
      if (kind == NormKind::rms) continue;
      check(name + " with weight and bias", [=](const Vars& v) { return call(v[0], v[1], v[2]); },
            [=](const Vars& v) { return reference(v[0], v[1], v[2]); }, {x, w, b});
    }
  }
}

TEST_CASE("group_norm agrees with its reference, and its value with plain loops") {
  struct Case {
    Shape shape;
    std::int64_t groups;
  };
  for (const auto& [shape, groups] : {Case{{3, 6, 2, 5}, 3}, Case{{2, 4, 7}, 1}, Case{{2, 3, 3, 3}, 3}}) {
    const std::int64_t b = shape[0], c = shape[1], pixels = shape.numel() / (b * c), width = c / groups * pixels, g = groups;
    const Tensor x = normal(shape, 1), w = normal({c}, 2), bias = normal({c}, 3);
    const Shape rows{b, g, width}, channels = Shape::filled(shape.rank(), 1).with(1, c);
    const auto reference = [=, s = shape](const Var& v, const Var& weight, const Var& shift) {
      const Var h = reshape(norm_reference({NormKind::layer, 1e-5, v.dtype()}, reshape(v, rows), {}, {}, {}, {}), s);
      return weight.defined() ? h * reshape(weight, channels) + reshape(shift, channels) : h;
    };
    check("group_norm", [=](const Vars& v) { return group_norm(v[0], {}, {}, g, 1e-5); }, [=](const Vars& v) { return reference(v[0], {}, {}); }, {x});
    check("group_norm with weight and bias", [=](const Vars& v) { return group_norm(v[0], v[1], v[2], g, 1e-5); },
          [=](const Vars& v) { return reference(v[0], v[1], v[2]); }, {x, w, bias});
    check("group_norm with SiLU", [=](const Vars& v) { return group_norm(v[0], v[1], v[2], {g, 1e-5, true, v[0].dtype()}); },
          [=](const Vars& v) { return silu(reference(v[0], v[1], v[2])); }, {x, w, bias});

    std::vector<double> y = x.to_vector<double>();
    for (std::int64_t row = 0; row < b * groups; ++row) {
      double* group = y.data() + row * width;
      double mean = 0, variance = 0;
      for (std::int64_t i = 0; i < width; ++i) mean += group[i] / static_cast<double>(width);
      for (std::int64_t i = 0; i < width; ++i) variance += (group[i] - mean) * (group[i] - mean) / static_cast<double>(width);
      for (std::int64_t i = 0; i < width; ++i) {
        const auto channel = static_cast<std::size_t>(row % groups * (c / groups) + i / pixels);
        group[i] = (group[i] - mean) / std::sqrt(variance + 1e-5) * w.to_vector<double>()[channel] + bias.to_vector<double>()[channel];
      }
    }
    CHECK(largest_difference(group_norm(x, w, bias, groups, 1e-5).value(), Tensor::from(y, shape)) < 1e-13);
    for (double& z : y) z /= 1 + std::exp(-z);
    CHECK(largest_difference(group_norm(x, w, bias, {groups, 1e-5, true, DType::f64}).value(), Tensor::from(y, shape)) < 1e-13);
  }
  CHECK_THROWS_WITH_AS(group_norm(normal({2, 6, 3}, 1), {}, {}, 4, 1e-5), doctest::Contains("a multiple of the 4 groups"), ShapeError);
  CHECK_THROWS_AS(group_norm(normal({2, 6}, 1), {}, {}, 2, 1e-5), ShapeError);
  CHECK_THROWS_AS(group_norm(normal({2, 6, 3}, 1), {}, {}, 0, 1e-5), ShapeError);
  CHECK_THROWS_AS(group_norm(normal({2, 6, 0}, 1), {}, {}, 2, 1e-5), ShapeError);
  CHECK_THROWS_AS(group_norm(normal({2, 6, 3}, 1), normal({3}, 2), {}, 2, 1e-5), ShapeError);
}

TEST_CASE("modulated norms agree with their references: per sample, per token, mixed") {
  const std::int64_t n = 3, tokens = 5, c = 7;
  const Tensor x = normal({n, tokens, c}, 1), w = normal({c}, 2), b = normal({c}, 3);
  const std::vector<std::pair<Shape, Shape>> kinds = {{{n, c}, {n, c}}, {{n, 1, c}, {n, 1, c}}, {{n, tokens, c}, {n, tokens, c}},
                                                      {{n, c}, {n, tokens, c}}, {{n, tokens, c}, {n, 1, c}}, {{n, c}, {n, 1, c}}};
  // The first three pairs of shapes are checked with all three norms, each mixed pair with only one.
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const Tensor shift = normal(kinds[i].first, 4), scale = normal(kinds[i].second, 5);
    const auto is_checked = [&](std::size_t form) { return i < 3 || i % 3 == form; };
    if (is_checked(0))
      check("layer_norm_modulate", [](const Vars& v) { return layer_norm_modulate(v[0], v[1], v[2], v[3], v[4], 1e-6); },
            [](const Vars& v) { return norm_reference({NormKind::layer, 1e-6, v[0].dtype()}, v[0], v[1], v[2], v[3], v[4]); }, {x, w, b, shift, scale});
    if (is_checked(1))
      check("rms_norm_modulate", [](const Vars& v) { return rms_norm_modulate(v[0], v[1], v[2], v[3], 1e-6); },
            [](const Vars& v) { return norm_reference({NormKind::rms, 1e-6, v[0].dtype()}, v[0], v[1], {}, v[2], v[3]); }, {x, w, shift, scale});
    if (is_checked(2))
      check("layer_norm_modulate, affine-free", [](const Vars& v) { return layer_norm_modulate(v[0], {}, {}, v[1], v[2], 1e-6); },
            [](const Vars& v) { return norm_reference({NormKind::layer, 1e-6, v[0].dtype()}, v[0], {}, {}, v[1], v[2]); }, {x, shift, scale});
  }
  check(
      "rows (B,C)", [](const Vars& v) { return rms_norm_modulate(v[0], v[1], v[2], v[3], 1e-6); },
      [](const Vars& v) { return norm_reference({NormKind::rms, 1e-6, v[0].dtype()}, v[0], v[1], {}, v[2], v[3]); },
      {normal({4, c}, 1), w, normal({4, c}, 4), normal({4, c}, 5)});
}

TEST_CASE("adaLN with six chunks of one modulation agrees with its reference") {
  const auto block = [](const auto& norm, const auto& gate) {
    return [=](const Vars& v) {
      const Vars m = chunk(v[1], 6);
      const Var h = gate(v[0], norm(v[0], v[2], m[0], m[1]), m[2]);
      return gate(h, norm(h, v[2], m[3], m[4]), m[5]);
    };
  };
  const auto fused = block([](const Var& x, const Var& w, const Var& t, const Var& s) { return rms_norm_modulate(x, w, t, s, 1e-6); },
                           [](const Var& x, const Var& h, const Var& g) { return gated_residual(x, h, g); });
  const auto reference =
      block([](const Var& x, const Var& w, const Var& t, const Var& s) { return norm_reference({NormKind::rms, 1e-6, x.dtype()}, x, w, {}, t, s); },
            [](const Var& x, const Var& h, const Var& g) { return gated_residual_reference(x, h, g); });
  const Tensor x = normal({3, 4, 5}, 1), w = normal({5}, 2);
  for (const Shape& shape : {Shape{3, 30}, Shape{3, 1, 30}, Shape{3, 4, 30}}) {
    const Tensor m = 0.3 * normal(shape, 3);
    CHECK_NOTHROW(check_all(fused, {x, m, w}));
    same(run(fused, {x, m, w}), run(reference, {x, m, w}), 1e-11);
  }
}

TEST_CASE("chunk: cotangents of all parts fill one buffer; parts without a cotangent are zero") {
  Tape tape;
  const Var x = tape.variable(normal({3, 2, 8}, 1));
  const Vars parts = chunk(x, 4);
  CHECK(parts[1].value().shares_memory_with(x.value()));
  const Var y = sum(square(parts[0])) + sum(parts[2]) + sum(parts[2] * parts[0]) + sum(x);
  const Tensor gx = backward(y)[x];
  const Tensor x0 = x.value().slice(2, 0, 2), x2 = x.value().slice(2, 4, 6);
  CHECK(largest_difference(gx.slice(2, 0, 2), 2.0 * x0 + x2 + 1.0) < 1e-14);
  CHECK(largest_difference(gx.slice(2, 2, 4), Tensor::ones({3, 2, 2}, DType::f64)) == 0);
  CHECK(largest_difference(gx.slice(2, 4, 6), x0 + 2.0) < 1e-14);
  CHECK(largest_difference(gx.slice(2, 6, 8), Tensor::ones({3, 2, 2}, DType::f64)) == 0);
  CHECK_THROWS_AS(chunk(x, 3), ShapeError);
  CHECK_NOTHROW(check_all([](const Vars& v) {
    const Vars p = chunk(v[0], 3);
    return p[0] * p[2] + p[0];
  }, {normal({3, 9}, 1)}));
}

TEST_CASE("gated residuals agree with their reference") {
  const Tensor x = normal({3, 4, 5}, 1), h = normal({3, 4, 5}, 2);
  for (const Shape& shape : {Shape{3, 5}, Shape{3, 1, 5}, Shape{3, 4, 5}})
    check("gated_residual", [](const Vars& v) { return gated_residual(v[0], v[1], v[2]); },
          [](const Vars& v) { return gated_residual_reference(v[0], v[1], v[2]); }, {x, h, normal(shape, 3)});
}

namespace {

// Checks value, tangent and cotangents of f against those of `exact` in f64. `half` marks results in bf16, whose tolerance is larger: a value or a
// cotangent is rounded once, a tangent once for each of its three terms.
void check_mixed(const CheckedFunction& f, const CheckedFunction& exact, const Tensors& inputs, const std::vector<bool>& half) {
  const Tensors got = run(f, inputs), want = run(exact, cast_all(inputs, DType::f64), types_of(inputs), got[0].dtype());
  REQUIRE(got.size() == want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(got[i].dtype() == (half[i] ? DType::bf16 : DType::f32));
    CHECK(largest_difference(got[i].to(DType::f64), want[i]) < (half[i] ? 8e-3 : 2e-6));
  }
}

}  // namespace

TEST_CASE("bf16 branches of an f32 stream: norms give bf16, sums stay f32, and cotangents have their operands' types") {
  const std::int64_t n = 3, tokens = 5, c = 37;
  const auto half = [](const Tensor& t) { return t.to(DType::bf16); };
  const Tensor x = normal({n, tokens, c}, 1).to(DType::f32), w = normal({c}, 2).to(DType::f32), b = normal({c}, 3).to(DType::f32);
  for (const Shape& shape : {Shape{n, c}, Shape{n, tokens, c}}) {
    const Tensor shift = half(normal(shape, 4)), scale = half(normal(shape, 5)), h = half(normal({n, tokens, c}, 6));
    check_mixed([](const Vars& v) { return rms_norm_modulate(v[0], v[1], v[2], v[3], 1e-6, DType::bf16); },
                [](const Vars& v) { return rms_norm_modulate(v[0], v[1], v[2], v[3], 1e-6); }, {x, w, shift, scale},
                {true, true, false, false, true, true});
    check_mixed([](const Vars& v) { return gated_residual(v[0], v[1], v[2]); }, [](const Vars& v) { return gated_residual(v[0], v[1], v[2]); },
                {x, h, scale}, {false, false, false, true, true});
    const detail::TangentScope taped(TangentMode::taped);                    // with taped tangents the op becomes its reference, which must have the same types
    const Var dual = Var(x).with_tangent(x);
    CHECK(rms_norm_modulate(dual, w, shift, scale, 1e-6, DType::bf16).dtype() == DType::bf16);
    CHECK(gated_residual(dual, h, scale).tangent().dtype() == DType::f32);
  }
  check_mixed([](const Vars& v) { return layer_norm(v[0], v[1], v[2], 1e-6, DType::bf16); },
              [](const Vars& v) { return layer_norm(v[0], v[1], v[2], 1e-6); }, {x, w, b}, {true, true, false, false, false});
  const Tensor images = normal({3, 6, 4, 5}, 7).to(DType::f32), w6 = normal({6}, 8).to(DType::f32), b6 = normal({6}, 9).to(DType::f32);
  check_mixed([](const Vars& v) { return group_norm(v[0], v[1], v[2], {3, 1e-6, true, DType::bf16}); },
              [](const Vars& v) { return group_norm(v[0], v[1], v[2], {3, 1e-6, true, v[0].dtype()}); }, {images, w6, b6}, {true, true, false, false, false});
  CHECK_THROWS_WITH_AS(group_norm(half(images), w6, b6, {3, 1e-6, true, DType::f32}), doctest::Contains("group_norm: a result in f32 of x in bf16"), DTypeError);
  CHECK_THROWS_WITH_AS(layer_norm(half(x), w, b, 1e-6, DType::f32), doctest::Contains("a result in f32 of x in bf16"), DTypeError);
  CHECK_THROWS_AS(layer_norm(x.to(DType::f64), {}, {}, 1e-6, DType::bf16), DTypeError);
}

TEST_CASE("softmax, log_softmax and swiglu agree with their references") {
  for (const Shape& shape : {Shape{3, 4, 6}, Shape{5, 34}, Shape{8}, Shape{2, 2}}) {
    const Tensor x = 2.0 * normal(shape, 1);
    check("softmax", [](const Vars& v) { return softmax(v[0]); }, [](const Vars& v) { return softmax_reference(v[0]); }, {x});
    check("log_softmax", [](const Vars& v) { return log_softmax(v[0]); }, [](const Vars& v) { return log_softmax_reference(v[0]); }, {x});
    check("swiglu", [](const Vars& v) { return swiglu(v[0]); }, [](const Vars& v) { return swiglu_reference(v[0]); }, {x});
  }
  CHECK_THROWS_AS(swiglu(Var(normal({3, 5}, 1))), ShapeError);
}

TEST_CASE("cross-entropy agrees with its reference, for classes and for probabilities") {
  const Tensor x = 2.0 * normal({5, 7}, 1), labels = Tensor::from(std::vector<std::int64_t>{3, 0, 6, 6, 2}, {5}),
               p = softmax(normal({5, 7}, 2));
  for (const Tensor& targets : {labels, labels.to(DType::i32)})
    check(
        "cross_entropy", [=](const Vars& v) { return cross_entropy(v[0], targets); },
        [=](const Vars& v) { return cross_entropy_reference(v[0], targets); }, {x});
  CheckOptions o;
  o.name = "cross_entropy of probabilities";
  const auto soft = [=](const Vars& v) { return cross_entropy(v[0], p); };
  CHECK_NOTHROW(check_all(soft, {x}, o));
  same(run(soft, {x}), run([=](const Vars& v) { return cross_entropy_reference(v[0], p); }, {x}), 1e-12);
  const Tensor same_as_hard = cross_entropy(x, one_hot(labels, 7, DType::f64));
  CHECK(largest_difference(same_as_hard, cross_entropy(x, labels)) < 1e-14);
  CHECK(cross_entropy(x.reshape({5, 1, 7}), labels.reshape({5, 1})).shape() == Shape{5, 1});
  CHECK_THROWS_AS(cross_entropy(x, Tensor::from(std::vector<std::int64_t>{0, 1, 2, 3, 7}, {5})).to_vector<double>(), ShapeError);
  CHECK_THROWS_AS(cross_entropy(x, labels.slice(0, 0, 4)), ShapeError);
  CHECK_THROWS_AS(cross_entropy(x, p.slice(1, 0, 6)), ShapeError);
}

TEST_CASE("attention agrees with its reference") {
  for (const auto& size : {std::array<int, 4>{3, 5, 2, 4}, {2, 9, 1, 3}, {2, 1, 2, 2}}) {
    const int b = size[0], n = size[1], h = size[2], d = size[3];
    check(
        "attention_qkv", [=](const Vars& v) { return attention_qkv(v[0], h); },
        [=](const Vars& v) { return attention_qkv_reference(v[0], h); }, {normal({b, n, 3 * h * d}, 1)});
    const Tensors qkv{normal({b, h, n, d}, 1), normal({b, h, n + 2, d}, 2), normal({b, h, n + 2, d}, 3)};
    check(
        "attention", [](const Vars& v) { return attention(v[0], v[1], v[2]); },
        [](const Vars& v) { return attention_reference(v[0], v[1], v[2]); }, qkv);
    check("attention of projections", [=](const Vars& v) {
      const auto split = [&](const Var& x) { return transpose(reshape(x, {b, n, h, d}), 1, 2); };
      return reshape(transpose(attention(split(v[0]), split(v[1]), split(v[0])), 1, 2), {b, n, h * d});
    }, {}, {normal({b, n, h * d}, 1), normal({b, n, h * d}, 2)});
  }
  CHECK_THROWS_AS(attention_qkv(Var(normal({2, 3, 10}, 1)), 2), ShapeError);
  CHECK_THROWS_AS(attention(Var(normal({2, 3, 4, 5}, 1)), Var(normal({2, 3, 4, 6}, 1)), Var(normal({2, 3, 4, 6}, 1))), ShapeError);
}

TEST_CASE("rotary embedding agrees with its reference") {
  const int heads = 2;
  const std::int64_t b = 3, n = 5, d = 6;
  const Tensor cos_table = normal({n, d}, 7), sin_table = normal({n, d}, 8);        // any tables will do, because the op is linear in qkv
  check("rope_qkv", [=](const Vars& v) { return rope_qkv(v[0], heads, cos_table, sin_table); },
        [=](const Vars& v) { return rope_qkv_reference(v[0], heads, cos_table, sin_table); }, {normal({b, n, 3 * heads * d}, 1)});
  check("rope and attention", [=](const Vars& v) { return attention_qkv(rope_qkv(v[0], heads, cos_table, sin_table), heads); }, {},
        {normal({b, n, 3 * heads * d}, 1)});
  CHECK_THROWS_AS(rope_qkv(Var(normal({b, n, 3 * heads * d}, 1)), heads, cos_table.slice(0, 0, 4), sin_table), ShapeError);
}

TEST_CASE("matrix products pass all derivative checks") {
  check("matmul", [](const Vars& v) { return matmul(v[0], v[1]); }, {}, {normal({3, 4, 5}, 1), normal({3, 5, 2}, 2)});
  check("matmul with one matrix", [](const Vars& v) { return matmul(v[0], v[1]); }, {}, {normal({3, 4, 5}, 1), normal({5, 2}, 2)});
  check("matmul of matrices", [](const Vars& v) { return matmul(v[0], v[1]); }, {}, {normal({3, 5}, 1), normal({5, 2}, 2)});
  check("matmul, broadcast batch", [](const Vars& v) { return matmul(v[0], v[1]); }, {}, {normal({1, 4, 5}, 1), normal({3, 5, 2}, 2)});
  check("linear", [](const Vars& v) { return linear(v[0], v[1], v[2]); }, {}, {normal({3, 4, 5}, 1), normal({2, 5}, 2), normal({2}, 3)});
  check("linear of rows", [](const Vars& v) { return linear(v[0], v[1], {}); }, {}, {normal({3, 5}, 1), normal({2, 5}, 2)});
}

TEST_CASE("errors name the op and the shapes") {
  const Var x = normal({2, 3, 4}, 1), w = normal({4}, 2);
  CHECK_THROWS_AS(layer_norm(x, Var(normal({3}, 1)), {}, 1e-6), ShapeError);
  CHECK_THROWS_AS(rms_norm_modulate(x, w, Var(normal({3, 4}, 1)), Var(normal({2, 4}, 1)), 1e-6), ShapeError);
  CHECK_THROWS_AS(gated_residual(x, x, Var(normal({4}, 1))), ShapeError);
  CHECK_THROWS_AS(rms_norm(x, Var(normal({4}, 1).to(DType::f32)), 1e-6), DTypeError);
}
