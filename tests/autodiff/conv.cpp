// Derivatives of conv2d, and its value against a matrix product over patches.
#include <doctest/doctest.h>

#include <cmath>

#include "autodiff/check.h"
#include "autodiff/rules/conv.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"

using namespace fm;

TEST_CASE("conv2d passes all derivative checks, for any stride and padding") {
  for (const auto& window : {std::pair{1, 0}, {1, 1}, {2, 1}, {3, 2}}) {
    const int s = window.first, p = window.second;
    CAPTURE(s);
    const auto f = [=](const std::vector<Var>& v) { return conv2d(v[0], v[1], v[2], s, p); };
    check_all(f, {sample_normal({3, 2, 7, 6}, 1), sample_normal({4, 2, 3, 3}, 2), sample_normal({4}, 3)}, {.name = "conv2d"});
  }
}

TEST_CASE("conv2d with different kernels and paddings in height and width passes all derivative checks") {
  struct Case {
    std::int64_t kernel_h, kernel_w;
    ConvStep step;
  };
  for (const Case& c : {Case{1, 7, {1, 0, 3}}, {7, 1, {1, 3, 0}}, {1, 3, {1, 0, 1}}, {3, 1, {1, 1, 0}}, {3, 3, {1, 0, 2}}, {3, 5, {2, 1, 2}}}) {
    INFO(c.kernel_h << "x" << c.kernel_w << ", padding " << c.step.pad_h << ", " << c.step.pad_w);
    const auto f = [&](const std::vector<Var>& v) { return conv2d(v[0], v[1], v[2], c.step); };
    const Tensor x = sample_normal({3, 2, 7, 9}, 1), w = sample_normal({4, 2, c.kernel_h, c.kernel_w}, 2), b = sample_normal({4}, 3);
    CHECK_NOTHROW(check_all(f, {x, w, b}, {.name = "conv2d"}));
    const ConvStep bare{c.step.stride};               // the same with zeros that are part of the image
    const Tensor padded = pad(pad(x, 2, c.step.pad_h, c.step.pad_h), 3, c.step.pad_w, c.step.pad_w);
    CHECK(sum_squares(f({x, w, b}).value() - conv2d(padded, w, b, bare)) < 1e-24);
  }
  CHECK(ConvStep{2, 1}.pad_w == 1);
  CHECK(ConvStep{2, 1, 0}.pad_w == 0);
}

TEST_CASE("conv2d with a kernel as large as its stride is a patch embedding") {
  const Tensor x = sample_normal({2, 3, 4, 6}, 1), w = sample_normal({5, 3, 2, 2}, 2), b = sample_normal({5}, 3);
  const Tensor patches = x.reshape({2, 3, 2, 2, 3, 2}).permute({0, 2, 4, 1, 3, 5}).reshape({2, 6, 12});
  const Tensor expected = linear(patches, w.reshape({5, 12}), b).transpose(1, 2).reshape({2, 5, 2, 3});
  CHECK(sum_squares(conv2d(x, w, b, {2, 0}) - expected) < 1e-24);
}

TEST_CASE("a kernel that just fits gives one row, one column or one number, each a sum of its products") {
  for (const auto& [h, w] : {std::pair<std::int64_t, std::int64_t>{3, 3}, {3, 5}, {5, 3}}) {
    const Tensor x = sample_normal({2, 2, h, w}, 1), k = sample_normal({4, 2, 3, 3}, 2);
    const Tensor y = conv2d(x, k, Tensor(), {1, 0});
    REQUIRE(y.shape() == Shape{2, 4, h - 2, w - 2});
    for (std::int64_t i = 0; i < h - 2; ++i)
      for (std::int64_t j = 0; j < w - 2; ++j) {
        const Tensor part = x.slice(2, i, i + 3).slice(3, j, j + 3).contiguous().reshape({2, 18}), products = matmul(part, k.reshape({4, 18}).transpose(0, 1));
        CHECK(sum_squares(y.slice(2, i, i + 1).slice(3, j, j + 1).contiguous().reshape({2, 4}) - products) < 1e-24);
      }
  }
}

// As in the encoder of SD-VAE: zeros below and on the right only. Output (i, j) reads the pixels from (2i, 2j) on.
TEST_CASE("a row and a column of zeros before a convolution of stride 2: plain loops, and all derivative checks") {
  const auto f = [](const std::vector<Var>& v) { return conv2d(pad(pad(v[0], 3, 0, 1), 2, 0, 1), v[1], v[2], 2, 0); };
  const Tensor x = sample_normal({2, 2, 6, 4}, 1), w = sample_normal({3, 2, 3, 3}, 2), b = sample_normal({3}, 3);
  CHECK_NOTHROW(check_all(f, {x, w, b}, {.name = "conv2d of padded images"}));
  const std::vector<double> xs = x.to_vector<double>(), ws = w.to_vector<double>(), bs = b.to_vector<double>();
  std::vector<double> wanted;
  for (std::size_t s = 0; s < 2; ++s)
    for (std::size_t o = 0; o < 3; ++o)
      for (std::size_t i = 0; i < 3; ++i)
        for (std::size_t j = 0; j < 2; ++j) {
          double sum = bs[o];
          for (std::size_t c = 0; c < 2; ++c)
            for (std::size_t u = 0; u < 3 && 2 * i + u < 6; ++u)
              for (std::size_t v = 0; v < 3 && 2 * j + v < 4; ++v) sum += ws[((o * 2 + c) * 3 + u) * 3 + v] * xs[((s * 2 + c) * 6 + 2 * i + u) * 4 + 2 * j + v];
          wanted.push_back(sum);
        }
  CHECK(sum_squares(f({x, w, b}).value() - Tensor::from(wanted, {2, 3, 3, 2})) < 1e-24);
}

namespace {

// Value, tangent and cotangents of a convolution, with fixed directions that are exact in bf16.
std::vector<Tensor> all_of(const std::vector<Tensor>& in, ConvStep step, DType result) {
  Tape tape;
  std::vector<Var> leaves, x;
  for (std::size_t i = 0; i < in.size(); ++i) {
    leaves.push_back(tape.variable(in[i]));
    x.push_back(leaves[i].with_tangent(sample_normal(in[i].shape(), 10 + i).to(DType::bf16).to(in[i].dtype())));
  }
  const detail::TangentScope scope(TangentMode::constant);
  const Var y = conv2d(x[0], x[1], x[2], step, result);
  const Gradients g = tape.backward({{y.without_tangent(), sample_normal(y.shape(), 20).to(DType::bf16).to(result)}});
  return {y.value(), y.full_tangent(), g[leaves[0]], g[leaves[1]], g[leaves[2]]};
}

double relative(const Tensor& a, const Tensor& b) { return std::sqrt(sum_squares(a.to(DType::f64) - b) / sum_squares(b)); }

}  // namespace

// The kernels of f32 use Winograd's algorithm for the second and the fourth size, and that algorithm backwards for the gradient of x.
TEST_CASE("conv2d in f32 and bf16: value, tangent and gradients are those of f64 for the same inputs, in the types of the operands") {
  struct Size {
    Shape x, w;
    ConvStep step;
  };
  for (const Size& size : {Size{{2, 3, 7, 6}, {4, 3, 3, 3}, {2, 1}}, {{2, 18, 11, 13}, {20, 18, 3, 3}, {1, 1}}, {{2, 5, 4, 4}, {6, 5, 1, 1}, {1, 0}},
                           {{2, 18, 11, 13}, {20, 18, 3, 3}, {1, 0, 2}}, {{1, 17, 11, 13}, {19, 17, 1, 7}, {1, 0, 3}}, {{1, 17, 11, 13}, {19, 17, 7, 1}, {1, 3, 0}},
                           {{2, 16, 9, 11}, {16, 16, 1, 3}, {1, 0, 1}}, {{2, 16, 9, 11}, {16, 16, 3, 1}, {1, 1, 0}}}) {
    const Tensor x = sample_normal(size.x, 1).to(DType::bf16), w = sample_normal(size.w, 2).to(DType::f32), b = sample_normal({size.w[0]}, 3).to(DType::f32);
    const auto in = [&](DType type) { return all_of({x.to(type), w.to(type), b.to(type)}, size.step, type); };
    const std::vector<Tensor> exact = in(DType::f64), single = in(DType::f32);
    for (std::size_t i = 0; i < exact.size(); ++i) CHECK(relative(single[i], exact[i]) < 2e-6);
    for (const DType result : {DType::bf16, DType::f32}) {
      const std::vector<Tensor> half = all_of({x, w, b}, size.step, result);
      const DType types[] = {result, result, DType::bf16, DType::f32, DType::f32};
      for (std::size_t i = 0; i < exact.size(); ++i) {
        CAPTURE(i);
        CHECK(half[i].dtype() == types[i]);
        CHECK(relative(half[i], exact[i]) < (types[i] == DType::f32 ? 2e-6 : 4e-3));         // rounded once, or twice for a sum of two tangents
      }
    }
    CHECK(relative(conv2d(x, w.to(DType::bf16), b.to(DType::bf16), size.step),
                   conv2d(x.to(DType::f64), w.to(DType::bf16).to(DType::f64), b.to(DType::bf16).to(DType::f64), size.step)) < 4e-3);
  }
}

TEST_CASE("a tape keeps the input of a convolution only for the gradient of its weight") {
  for (const bool frozen : {false, true}) {
    Tape tape;
    const Tensor w = sample_normal({3, 2, 3, 3}, 1);
    Var x = affine(tape.variable(sample_normal({1, 2, 5, 5}, 2)), 2, 0);
    const Tensor value = x.value();
    const Var y = conv2d(x, frozen ? Var(w) : tape.variable(w), Var(), ConvStep{1, 1});
    x = Var();
    CHECK(value.is_unique() == frozen);
  }
}

TEST_CASE("conv2d refuses types that do not go together") {
  const Tensor x = Tensor::ones({1, 2, 4, 4}), w = Tensor::ones({3, 2, 3, 3}), b = Tensor::ones({3});
  CHECK_THROWS_AS(conv2d(x, w.to(DType::f64), Tensor(), {1, 0}), DTypeError);
  CHECK_THROWS_AS(conv2d(x, w.to(DType::bf16), Tensor(), {1, 0}), DTypeError);
  CHECK_THROWS_AS(conv2d(x, w, b.to(DType::f64), {1, 0}), DTypeError);
  CHECK_THROWS_AS(conv2d(x.to(DType::bf16), w.to(DType::f64), Tensor(), {1, 0}), DTypeError);
  CHECK_THROWS_WITH_AS(conv2d(x, w, b, {1, 0}, DType::bf16), doctest::Contains("x in f32 and its result in bf16"), DTypeError);
  CHECK_THROWS_AS(conv2d(x.to(DType::i32), w, b, {1, 0}), DTypeError);
}

TEST_CASE("errors of conv2d name the shapes") {
  CHECK_THROWS_AS(conv2d(Tensor::ones({1, 2, 4, 4}), Tensor::ones({3, 1, 3, 3}), Tensor(), {1, 0}), ShapeError);
  for (const auto& [h, w] : {std::pair<std::int64_t, std::int64_t>{2, 2}, {2, 5}, {5, 2}})
    CHECK_THROWS_WITH_AS(conv2d(Tensor::ones({1, 1, h, w}), Tensor::ones({3, 1, 3, 3}), Tensor(), {1, 0}), doctest::Contains("a kernel of 3x3 does not fit into x"), ShapeError);
  CHECK_THROWS_AS(conv2d(Tensor::ones({1, 1, 4, 4}), Tensor::ones({3, 1, 3, 3}), Tensor(), {0, 0}), ShapeError);
  CHECK_THROWS_AS(conv2d(Tensor::ones({1, 1, 4, 4}), Tensor::ones({3, 1, 3, 3}), Tensor(), {1, -1}), ShapeError);
  CHECK_THROWS_WITH_AS(conv2d(Tensor::ones({1, 1, 4, 4}), Tensor::ones({3, 1, 3, 3}), Tensor(), {1, 2, -1}),
                       doctest::Contains("stride 1, padding 2 in height and -1 in width: the stride must be 1 or more, the padding 0 or more"), ShapeError);
  CHECK_THROWS_WITH_AS(conv2d(Tensor::ones({1, 1, 4, 4}), Tensor::ones({3, 1, 7, 1}), Tensor(), {1, 1, 0}),
                       doctest::Contains("a kernel of 7x1 does not fit into x[1, 1, 4, 4] with padding 1 in height and 0 in width"), ShapeError);
  CHECK_THROWS_AS(conv2d(Tensor::ones({1, 4, 4}), Tensor::ones({3, 1, 3, 3}), Tensor(), {1, 0}), ShapeError);
  CHECK_THROWS_AS(conv2d(Tensor::ones({1, 1, 4, 4}), Tensor::ones({3, 1, 3}), Tensor(), {1, 0}), ShapeError);
}
