// Derivative rules of the linear operations: push, pull, taped tangents, and tangents of the first rows only.
#include "autodiff/rules/linear.h"

#include <doctest/doctest.h>

#include "autodiff/check.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/matmul.h"
#include "autodiff/rules/norm.h"
#include "autodiff/rules/resize.h"
#include "tensor/ops/reduce.h"

using namespace fm;

namespace {

using Vars = std::vector<Var>;

// Checks the square of f, whose second derivatives are not zero.
void check(const char* name, const CheckedFunction& f, const std::vector<Tensor>& inputs) {
  CheckOptions o;
  o.name = name;
  CHECK_NOTHROW(check_all([&](const Vars& x) { return square(f(x)); }, inputs, o));
}

Tensor sample() { return sample_normal({4, 3, 2}, 1); }

}  // namespace

TEST_CASE("reshape, permute, transpose, unsqueeze and expand pass all derivative checks") {
  const Tensor x = sample();
  check("reshape", [](const Vars& v) { return reshape(v[0], {4, -1}); }, {x});
  check("reshape that splits rows", [](const Vars& v) { return reshape(v[0], {8, 3}); }, {x});
  check("reshape that joins rows", [](const Vars& v) { return reshape(v[0], {2, 12}); }, {x});
  check("reshape across rows", [](const Vars& v) { return reshape(v[0], {3, 8}); }, {x});
  check("reshape to a vector", [](const Vars& v) { return reshape(v[0], {-1}); }, {x});
  check("permute", [](const Vars& v) { return permute(v[0], {0, 2, 1}); }, {x});
  check("permute of rows", [](const Vars& v) { return permute(v[0], {2, 0, 1}); }, {x});
  check("transpose", [](const Vars& v) { return transpose(v[0], 0, -1); }, {x});
  check("unsqueeze", [](const Vars& v) { return unsqueeze(v[0], 1); }, {x});
  check("unsqueeze in front", [](const Vars& v) { return unsqueeze(v[0], 0); }, {x});
  check("expand", [](const Vars& v) { return expand(v[0], {4, 3, 2}); }, {sample_normal({4, 1, 2}, 2)});
  check("expand of rows", [](const Vars& v) { return expand(v[0], {5, 3, 2}); }, {sample_normal({3, 2}, 2)});
}

TEST_CASE("products whose inner dimension is the number of rows do not mistake rows of b for rows of the result") {
  check("square a", [](const Vars& v) { return matmul(v[0], v[1]); }, {sample_normal({3, 3}, 1), sample_normal({3, 2}, 2)});
  check("square b", [](const Vars& v) { return matmul(v[0], v[1]); }, {sample_normal({2, 3}, 1), sample_normal({3, 3}, 2)});
  check("all square", [](const Vars& v) { return matmul(v[0], v[1]); }, {sample_normal({3, 3}, 1), sample_normal({3, 3}, 2)});
  check("batches", [](const Vars& v) { return matmul(v[0], v[1]); }, {sample_normal({3, 3, 3}, 1), sample_normal({3, 3, 2}, 2)});
  check("one matrix for batches", [](const Vars& v) { return matmul(v[0], v[1]); }, {sample_normal({3, 2, 3}, 1), sample_normal({3, 3}, 2)});
  check("a batch against one a", [](const Vars& v) { return matmul(v[0], v[1]); }, {sample_normal({3, 3}, 1), sample_normal({3, 3, 2}, 2)});
}

TEST_CASE("resizing height, width, both or neither passes all derivative checks") {
  for (const Interpolation kind : {Interpolation::bilinear, Interpolation::bicubic}) {
    const Tensor x = sample_normal({2, 5, 7}, 1);
    for (const auto& [h, w] : {std::pair<std::int64_t, std::int64_t>{3, 4}, {5, 5}, {7, 7}, {5, 9}, {8, 7}, {7, 5}}) {
      const Tensor y = resize(Var(x), h, w, kind).value(), turned = resize(Var(x.transpose(1, 2).contiguous()), w, h, kind).value();
      REQUIRE(y.shape() == Shape{2, h, w});
      CHECK(sum_squares(y - turned.transpose(1, 2)) < 1e-24);
    }
    CHECK(resize(Var(x), 5, 7, kind).value().shares_memory_with(x));
    check("resize", [kind](const Vars& v) { return resize(v[0], 3, 9, kind); }, {sample_normal({2, 4, 6}, 1)});
  }
}

TEST_CASE("upsample_nearest repeats each pixel in a block, and passes all derivative checks") {
  const Tensor x = sample_normal({2, 3, 4, 5}, 1);
  for (const std::int64_t factor : {1, 2, 3}) {
    const Tensor y = upsample_nearest(x, factor).value();
    REQUIRE(y.shape() == Shape{2, 3, 4 * factor, 5 * factor});
    const std::vector<double> from = x.to_vector<double>(), to = y.to_vector<double>();
    int wrong = 0;
    for (std::int64_t image = 0; image < 6; ++image)
      for (std::int64_t i = 0; i < 4 * factor; ++i)
        for (std::int64_t j = 0; j < 5 * factor; ++j)
          wrong += to[static_cast<std::size_t>((image * 4 * factor + i) * 5 * factor + j)] !=
                   from[static_cast<std::size_t>((image * 4 + i / factor) * 5 + j / factor)];
    CHECK(wrong == 0);
    check("upsample_nearest", [factor](const Vars& v) { return upsample_nearest(v[0], factor); }, {sample_normal({3, 2, 2, 3}, 1)});
  }
  CHECK_THROWS_AS(upsample_nearest(sample_normal({2, 3, 4}, 1), 2), ShapeError);
  CHECK_THROWS_AS(upsample_nearest(x, 0), ShapeError);
}

TEST_CASE("a modulation of each sample beside one of each token gets a cotangent that is summed over the tokens") {
  const auto f = [](const Vars& v) { return rms_norm_modulate(v[0], v[1], v[2], v[3], 1e-6); };
  check("modulated norm", f, {sample_normal({4, 3, 4}, 1), sample_normal({4}, 2), sample_normal({4, 3, 4}, 3), sample_normal({4, 1, 4}, 4)});
}

TEST_CASE("slice, select, concat and pad pass all derivative checks") {
  const Tensor x = sample();
  check("slice", [](const Vars& v) { return slice(v[0], 1, 1, 3); }, {x});
  check("slice of rows", [](const Vars& v) { return slice(v[0], 0, 1, 3); }, {x});
  check("slices that overlap", [](const Vars& v) { return slice(v[0], 1, 0, 2) * slice(v[0], 1, 1, 3); }, {x});
  check("select", [](const Vars& v) { return select(v[0], 2, 1); }, {x});
  check("select of a row", [](const Vars& v) { return select(v[0], 0, 1); }, {x});
  check("concat", [](const Vars& v) { return concat({v[0], v[1], v[0]}, 1); }, {x, sample_normal({4, 2, 2}, 3)});
  check("concat of rows", [](const Vars& v) { return concat({v[0], v[1]}, 0); }, {x, sample_normal({2, 3, 2}, 3)});
  check("pad", [](const Vars& v) { return pad(v[0], 1, 2, 1); }, {x});
  check("pad of rows", [](const Vars& v) { return pad(v[0], 0, 2, 1); }, {x});
}

TEST_CASE("sum and mean pass all derivative checks") {
  const Tensor x = sample();
  check("sum", [](const Vars& v) { return sum(v[0]); }, {x});
  check("sum over rows", [](const Vars& v) { return sum(v[0], {0}); }, {x});
  check("sum over rows, kept", [](const Vars& v) { return sum(v[0], {0, 2}, true); }, {x});
  check("sum inside", [](const Vars& v) { return sum(v[0], {-1}); }, {x});
  check("mean", [](const Vars& v) { return mean(v[0]); }, {x});
  check("mean inside", [](const Vars& v) { return mean(v[0], {1}, true); }, {x});
}

TEST_CASE("gather passes all derivative checks") {
  const Tensor x = sample();
  const Tensor index = Tensor::from(std::vector<std::int64_t>{3, 0, 3, 1, 1}, {5});
  check("gather", [&](const Vars& v) { return gather(v[0], index); }, {x});
}

TEST_CASE("the cotangent of a cast has the type of the cast's input") {
  Tape tape;
  const Var w = tape.variable(sample_normal({3, 2}, 1, DType::f32));
  const Var y = cast(w, DType::bf16);
  CHECK(y.dtype() == DType::bf16);
  const Gradients g = backward(sum(square(cast(y, DType::f32))));
  CHECK(g[w].dtype() == DType::f32);
}
