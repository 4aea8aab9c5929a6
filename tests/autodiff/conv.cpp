// conv2d's derivatives, and its value against a patch written as matrix product.
#include <doctest/doctest.h>

#include "autodiff/check.h"
#include "autodiff/rules/conv.h"
#include "autodiff/rules/linear.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"

using namespace fm;

TEST_CASE("derivatives of conv2d, any stride and padding") {
  for (const auto& window : {std::pair{1, 0}, {1, 1}, {2, 1}, {3, 2}}) {
    const int s = window.first, p = window.second;
    CAPTURE(s);
    const auto f = [=](const std::vector<Var>& v) { return conv2d(v[0], v[1], v[2], s, p); };
    check_all(f, {sample_normal({3, 2, 7, 6}, 1), sample_normal({4, 2, 3, 3}, 2), sample_normal({4}, 3)}, {.name = "conv2d"});
  }
}

TEST_CASE("a kernel as large as its stride is a patch embedding") {
  const Tensor x = sample_normal({2, 3, 4, 6}, 1), w = sample_normal({5, 3, 2, 2}, 2), b = sample_normal({5}, 3);
  const Tensor patches = x.reshape({2, 3, 2, 2, 3, 2}).permute({0, 2, 4, 1, 3, 5}).reshape({2, 6, 12});
  const Tensor expected = linear(patches, w.reshape({5, 12}), b).transpose(1, 2).reshape({2, 5, 2, 3});
  CHECK(sum_squares(conv2d(x, w, b, {2, 0}) - expected) < 1e-24);
}

TEST_CASE("errors name the shapes") {
  CHECK_THROWS_AS(conv2d(Tensor::ones({1, 2, 4, 4}), Tensor::ones({3, 1, 3, 3}), Tensor(), {1, 0}), ShapeError);
  CHECK_THROWS_AS(conv2d(Tensor::ones({1, 1, 2, 2}), Tensor::ones({3, 1, 3, 3}), Tensor(), {1, 0}), ShapeError);
}
