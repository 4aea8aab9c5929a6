// Derivatives of conv2d, and its value against a matrix product over patches.
#include <doctest/doctest.h>

#include "autodiff/check.h"
#include "autodiff/rules/conv.h"
#include "autodiff/rules/linear.h"
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

TEST_CASE("errors of conv2d name the shapes") {
  CHECK_THROWS_AS(conv2d(Tensor::ones({1, 2, 4, 4}), Tensor::ones({3, 1, 3, 3}), Tensor(), {1, 0}), ShapeError);
  for (const auto& [h, w] : {std::pair<std::int64_t, std::int64_t>{2, 2}, {2, 5}, {5, 2}})
    CHECK_THROWS_WITH_AS(conv2d(Tensor::ones({1, 1, h, w}), Tensor::ones({3, 1, 3, 3}), Tensor(), {1, 0}), doctest::Contains("a kernel of 3x3 does not fit into x"), ShapeError);
  CHECK_THROWS_AS(conv2d(Tensor::ones({1, 1, 4, 4}), Tensor::ones({3, 1, 3, 3}), Tensor(), {0, 0}), ShapeError);
  CHECK_THROWS_AS(conv2d(Tensor::ones({1, 1, 4, 4}), Tensor::ones({3, 1, 3, 3}), Tensor(), {1, -1}), ShapeError);
  CHECK_THROWS_AS(conv2d(Tensor::ones({1, 4, 4}), Tensor::ones({3, 1, 3, 3}), Tensor(), {1, 0}), ShapeError);
  CHECK_THROWS_AS(conv2d(Tensor::ones({1, 1, 4, 4}), Tensor::ones({3, 1, 3}), Tensor(), {1, 0}), ShapeError);
}
