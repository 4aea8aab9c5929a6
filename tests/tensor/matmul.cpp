// Products on tensors: shapes, views, broadcasting and errors (the kernels themselves are tested in gemm.cpp), and their derivatives.
#include <doctest/doctest.h>

#include <cmath>

#include "autodiff/jvp.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/matmul.h"
#include "tensor/memory/allocator.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

// c[m, n] = sum_k a[m, k] b[k, n], written out, for two-dimensional views
Tensor naive(const Tensor& a, const Tensor& b) {
  Tensor c = Tensor::zeros({a.dim(0), b.dim(1)}, DType::f64);
  for (int i = 0; i < a.dim(0); ++i)
    for (int j = 0; j < b.dim(1); ++j) c.select(0, i).slice(0, j, j + 1).fill(sum(a.select(0, i) * b.select(1, j)).item());
  return c;
}

}  // namespace

TEST_CASE("matmul of operands with any strides") {
  const Tensor a = normal({5, 7}, 1), b = normal({7, 3}, 2);
  const Tensor c = naive(a, b);
  CHECK(max_difference(matmul(a, b), c) < 1e-13);
  CHECK(max_difference(matmul(a.transpose(0, 1).contiguous().transpose(0, 1), b), c) < 1e-13);
  CHECK(max_difference(matmul(a, b.transpose(0, 1).contiguous().transpose(0, 1)), c) < 1e-13);
  CHECK(max_difference(matmul(a.slice(1, 2, 5), b.slice(0, 2, 5)), naive(a.slice(1, 2, 5), b.slice(0, 2, 5))) < 1e-13);
  CHECK(max_difference(matmul(a.slice(0, 1, 2), b), c.slice(0, 1, 2)) < 1e-13);
}

TEST_CASE("matmul copies no transposed or sliced operand; it copies one whose two strides both differ from 1") {
  if (default_device().is_cuda()) return;                            // cuBLAS allocates its own memory
  const Tensor a = normal({64, 128}, 1).to(DType::f32), b = normal({128, 64}, 2).to(DType::f32);
  const auto extra = [&](const Tensor& x, const Tensor& y) {        // bytes beside the result
    matmul(x, y);
    const std::size_t before = memory_stats().live;
    reset_memory_peak();
    const Tensor c = matmul(x, y);
    return static_cast<std::int64_t>(memory_stats().peak - before) - static_cast<std::int64_t>(c.bytes());
  };
  const std::int64_t kernels = extra(a, b) + 512;                    // memory for packing, and rounding up by the allocator
  const Tensor at = a.transpose(0, 1).contiguous().transpose(0, 1), bt = b.transpose(0, 1).contiguous().transpose(0, 1);
  CHECK(extra(at, b) <= kernels);
  CHECK(extra(a, bt) <= kernels);
  CHECK(extra(at, bt) <= kernels);
  CHECK(extra(a.slice(1, 0, 100), b.slice(0, 0, 100)) <= kernels);
  CHECK(extra(at.slice(0, 1, 60), b) <= kernels);
  CHECK(extra(a.slice(0, 0, 1), b) <= kernels);
  CHECK(extra(a, b.slice(1, 3, 4)) <= kernels);
  CHECK(extra(normal({64, 256}, 1).to(DType::f32).reshape({64, 128, 2}).select(2, 0), b) > kernels + 30000);   // every second number: a copy
}

TEST_CASE("matmul broadcasts leading dimensions") {
  const Tensor a = normal({4, 1, 2, 5}, 1), b = normal({3, 5, 6}, 2);
  const Tensor c = matmul(a, b);
  REQUIRE(c.shape() == Shape{4, 3, 2, 6});
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 3; ++j)
      CHECK(max_difference(c.select(0, i).select(0, j), naive(a.select(0, i).select(0, 0), b.select(0, j))) < 1e-13);
  const Tensor heads = normal({2, 5, 3, 4}, 3).permute({0, 2, 1, 3});       // (B, H, N, D) views of (B, N, H, D)
  const Tensor scores = matmul(heads, heads.transpose(-1, -2)), one = heads.select(0, 1).select(0, 2);
  CHECK(max_difference(scores.select(0, 1).select(0, 2), naive(one, one.transpose(0, 1))) < 1e-13);
}

TEST_CASE("linear is x W^T + b") {
  const Tensor x = normal({2, 3, 5}, 1), w = normal({4, 5}, 2), b = normal({4}, 3);
  CHECK(max_difference(linear(x, w, b).reshape({6, 4}), naive(x.reshape({6, 5}), w.transpose(0, 1)) + b) < 1e-14);
}

TEST_CASE("errors of matmul name the shapes") {
  CHECK_THROWS_WITH_AS(matmul(normal({2, 3}, 1), normal({4, 5}, 2)),
                       "matmul: inner dimensions differ: a[2, 3] has 3 columns, b[4, 5] has 4 rows", ShapeError);
  CHECK_THROWS_AS(matmul(normal({2, 3}, 1), Tensor::ones({3, 2})), DTypeError);
  CHECK_THROWS_AS(linear(normal({2, 3}, 1), normal({4, 5}, 2), Tensor()), ShapeError);
}

TEST_CASE("push and pull of linear and matmul agree, also when only the first rows have a tangent") {
  const Tensor x = normal({3, 2, 4}, 1), w = normal({5, 4}, 2), b = normal({5}, 3), m = normal({3, 5, 2}, 4);
  const auto f = [](const Var& vx, const Var& vw, const Var& vb, const Var& vm) { return matmul(linear(vx, vw, vb), vm); };
  const Tensor dx = normal({3, 2, 4}, 5), dw = normal({5, 4}, 6), db = normal({5}, 7), dm = normal({3, 5, 2}, 8);
  const auto [y, dy] = jvp(f, at(x, w, b, m), along(dx, dw, db, dm));
  const Tensor gy = normal(y.shape(), 9);
  Tape tape;
  const Var vx = tape.variable(x), vw = tape.variable(w), vb = tape.variable(b), vm = tape.variable(m);
  const Var z = f(vx, vw, vb, vm);
  const Gradients g = tape.backward({{z, gy}});
  const double pulled = sum(g[vx] * dx).item() + sum(g[vw] * dw).item() + sum(g[vb] * db).item() + sum(g[vm] * dm).item();
  CHECK(near(sum(gy * dy).item(), pulled, 5e-14));

  const Tensor part = dx.slice(0, 0, 1), part_m = dm.slice(0, 0, 2);
  const auto [y1, dy1] = jvp(f, at(x, w, b, m), along(part, zero, zero, part_m));
  const auto [y2, dy2] = jvp(f, at(x, w, b, m), along(pad(part, 0, 0, 2), zero, zero, pad(part_m, 0, 0, 1)));
  REQUIRE(dy1.dim(0) == 2);
  CHECK(max_difference(pad(dy1, 0, 0, 1), dy2) < 1e-13);
}
