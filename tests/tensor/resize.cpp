// Resampling against the weights that the reference libraries use, its transpose, and its derivatives.
#include "tensor/ops/resize.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autodiff/jvp.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/resize.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

void check_row(const Resampling& r, std::int64_t o, std::int64_t first, const std::vector<double>& expected) {
  double sum = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(near_within(r.weight(o, first + static_cast<std::int64_t>(i)), expected[i], 6e-8));     // the expected weights have seven decimals
    sum += r.weight(o, first + static_cast<std::int64_t>(i));
  }
  CHECK(near(sum, 1.0, 1e-14));              // no weight lies outside the listed inputs
}

constexpr Interpolation kinds[] = {Interpolation::bilinear, Interpolation::bicubic, Interpolation::bilinear_antialias,
                                   Interpolation::bicubic_antialias};

}  // namespace

TEST_CASE("bicubic weights, 256 to 224") {
  const Resampling r = resampling(256, 224, Interpolation::bicubic);
  check_row(r, 0, 0, {0.9427843, 0.0607690, -0.0035532});
  check_row(r, 100, 113, {-0.1106961, 0.7699526, 0.4022413, -0.0614978});
}

TEST_CASE("antialiased bicubic weights, 37 to 16 and 32") {
  const Resampling r = resampling(37, 16, Interpolation::bicubic_antialias), s = resampling(37, 32, Interpolation::bicubic_antialias);
  check_row(r, 0, 0, {0.3871864, 0.4414507, 0.2092562, -0.0030565, -0.0318170, -0.0030198});
  check_row(r, 8, 15, {-0.0070934, -0.0318698, 0.0183840, 0.2435942, 0.4283140, 0.3204806, 0.0740678, -0.0295133, -0.0163642});
  check_row(s, 0, 0, {0.8812727, 0.1523974, -0.0336700});
  check_row(s, 16, 17, {-0.0633982, 0.4845796, 0.6375291, -0.0587105});
}

TEST_CASE("bilinear resizing from 4 to 8 and from 4 to 2 gives the values computed by hand") {
  const Resampling up = resampling(4, 8, Interpolation::bilinear);
  check_row(up, 0, 0, {1.0});
  check_row(up, 1, 0, {0.75, 0.25});
  check_row(up, 7, 3, {1.0});
  check_row(resampling(4, 2, Interpolation::bilinear), 0, 0, {0.5, 0.5});
  check_row(resampling(4, 2, Interpolation::bilinear_antialias), 0, 0, {3.0 / 7, 3.0 / 7, 1.0 / 7});
}

TEST_CASE("resize does nothing at equal size and keeps constants") {
  for (const Interpolation kind : kinds) {
    const Resampling same = resampling(7, 7, kind);
    for (std::int64_t o = 0; o < 7; ++o) check_row(same, o, o, {1.0});
    const Tensor y = resize(Tensor::full({2, 3, 5, 9}, 0.7), 11, 4, kind);
    CHECK(y.shape() == Shape{2, 3, 11, 4});
    CHECK(max_difference(y, Tensor::full(y.shape(), 0.7)) < 1e-6);
  }
}

TEST_CASE("resample along a dimension equals the dense product, in every float type") {
  for (const Interpolation kind : kinds) {
    const Resampling r = resampling(13, 6, kind);
    const Tensor x = normal({3, 13, 5}, 1);
    const auto values = x.to_vector<double>();
    std::vector<double> expected;
    for (int a = 0; a < 3; ++a)
      for (int o = 0; o < 6; ++o)
        for (int i = 0; i < 5; ++i) {
          double sum = 0;
          for (int j = 0; j < 13; ++j) sum += r.weight(o, j) * values[static_cast<std::size_t>((a * 13 + j) * 5 + i)];
          expected.push_back(sum);
        }
    const Tensor want = Tensor::from(expected, {3, 6, 5});
    CHECK(max_difference(resample(x, 1, r), want) < 1e-14);
    CHECK(max_difference(resample(x.transpose(1, 2).contiguous(), -1, r).transpose(1, 2), want) < 1e-14);
    CHECK(max_difference(resample(x.to(DType::f32), 1, r), want) < 1e-6);
    CHECK(max_difference(resample(x.to(DType::bf16), 1, r), want) < 2e-2);
  }
  CHECK_THROWS_AS(resample(normal({3, 4}, 1), 1, resampling(5, 2, Interpolation::bilinear)), ShapeError);
}

TEST_CASE("push and pull of resize are transposes of each other") {
  for (const Interpolation kind : kinds) {
    const Tensor x = normal({2, 5, 8}, 1), dx = normal({2, 5, 8}, 2), gy = normal({2, 3, 12}, 3);
    Tape tape;
    const Var v = tape.variable(x);
    const auto [y, dy] = jvp([&](const Var& u) { return resize(u, 3, 12, kind); }, at(v), along(dx));
    const double pushed = sum(dy * gy).item();
    const Gradients g = backward(sum(y * gy));
    CHECK(near(sum(g[v] * dx).item(), pushed, 5e-14));
    const auto [z, part] = jvp([&](const Var& u) { return resize(u, 3, 12, kind); }, at(x), along(dx.slice(0, 0, 1)));
    CHECK(max_difference(part, dy.slice(0, 0, 1)) == 0);
  }
}
