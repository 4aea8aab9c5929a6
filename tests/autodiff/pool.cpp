// Pooling against plain loops in double that visit every place of a window and skip the places outside the image; ties, NaN and infinities as in PyTorch;
// all derivative checks.
#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "autodiff/check.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/pool.h"
#include "tensor/ops/elementwise.h"
#include "tests/support/tensors.h"

using namespace fm;
using fm::test::max_difference;
using Int = std::int64_t;

namespace {

const std::vector<PoolWindow> windows{{2, 2, 0}, {3, 2, 0}, {3, 2, 1}, {3, 1, 1}, {2, 1, 1}, {5, 3, 2}, {1, 1, 0}, {1, 2, 0}, {2, 3, 1}, {4, 1, 2}};

std::string text(PoolWindow w) { return "kernel " + std::to_string(w.kernel) + ", stride " + std::to_string(w.stride) + ", padding " + std::to_string(w.padding); }

Tensor from(const std::vector<double>& values, const Shape& shape) { return Tensor::from(values, shape); }

// The value of each window and the gradient of <g, value>, where g[k] is the weight of output k.
struct Pooled {
  std::vector<double> value, gradient;
  Shape shape;
};

template <class G> Pooled by_loops(const Tensor& x, PoolWindow w, bool maximum, PoolCount count, const G& g) {
  const Int height = x.dim(2), width = x.dim(3), rows = (height + 2 * w.padding - w.kernel) / w.stride + 1, columns = (width + 2 * w.padding - w.kernel) / w.stride + 1;
  const std::vector<double> xs = x.to_vector<double>();
  Pooled p{{}, std::vector<double>(xs.size()), {x.dim(0), x.dim(1), rows, columns}};
  for (Int plane = 0; plane < x.dim(0) * x.dim(1); ++plane)
    for (Int i = 0; i < rows; ++i)
      for (Int j = 0; j < columns; ++j) {
        std::vector<std::size_t> inside;
        for (Int u = 0; u < w.kernel; ++u)
          for (Int v = 0; v < w.kernel; ++v) {
            const Int h = i * w.stride - w.padding + u, c = j * w.stride - w.padding + v;
            if (h >= 0 && h < height && c >= 0 && c < width) inside.push_back(static_cast<std::size_t>((plane * height + h) * width + c));
          }
        const double weight = g(p.value.size());
        const double divisor = count == PoolCount::inside ? static_cast<double>(inside.size()) : w.kernel * w.kernel;
        std::size_t best = inside[0];
        double sum = 0;
        for (const std::size_t at : inside) {
          if (xs[at] > xs[best]) best = at;
          sum += xs[at];
          if (!maximum) p.gradient[at] += weight / divisor;
        }
        if (maximum) p.gradient[best] += weight;
        p.value.push_back(maximum ? xs[best] : sum / divisor);
      }
  return p;
}

// Weights that are exact in bf16, so that all types have the same.
double weight_of(std::size_t k) { return (static_cast<double>(k * 7 % 31) - 15) / 16; }

void check_loops(const Shape& shape, PoolWindow w, DType type, double tolerance) {
  const Tensor x = sample_normal(shape, 1).to(DType::bf16).to(type);
  for (const auto& [maximum, count] : {std::pair{true, PoolCount::inside}, {false, PoolCount::inside}, {false, PoolCount::all}}) {
    const bool largest = maximum;                  // clang 14 does not capture structured bindings
    INFO(text(w) << " of " << to_string(shape) << " in " << name_of(type) << (largest ? ", maximum" : ", mean"));
    const auto f = [&, maximum = maximum, count = count](const Var& v) { return maximum ? max_pool2d(v, w) : avg_pool2d(v, w, count); };
    const Pooled wanted = by_loops(x, w, maximum, count, weight_of);
    std::vector<double> weights;
    for (std::size_t k = 0; k < wanted.value.size(); ++k) weights.push_back(weight_of(k));
    Tape tape;
    const Var leaf = tape.variable(x), y = f(leaf);
    REQUIRE(y.shape() == wanted.shape);
    const Gradients g = tape.backward({{y, from(weights, y.shape()).to(type)}});
    CHECK(y.dtype() == type);
    CHECK(g[leaf].dtype() == type);
    CHECK(max_difference(y.value(), from(wanted.value, y.shape())) <= (maximum ? 0 : tolerance));
    CHECK(max_difference(g[leaf], from(wanted.gradient, shape)) <= 4 * tolerance);           // sums of up to nine
  }
}

}  // namespace

TEST_CASE("pooling: values and gradients of plain loops, for f64, f32 and bf16") {
  for (const PoolWindow& w : windows)
    for (const Shape& shape : {Shape{2, 3, 7, 5}, Shape{1, 2, 6, 11}, Shape{1, 1, 5, 4}}) {
      if (shape[3] < w.kernel && w.padding == 0) continue;
      check_loops(shape, w, DType::f64, 1e-15);
      check_loops(shape, w, DType::f32, 4e-7);
      check_loops(shape, w, DType::bf16, 0x1p-8);
    }
  check_loops({2, 1, 1, 1}, {3, 2, 1}, DType::f64, 1e-15);
  check_loops({2, 1, 1, 3}, {2, 1, 1}, DType::f32, 4e-7);
}

TEST_CASE("pooling in bf16 rounds the result in f32 once") {
  const Tensor x = sample_normal({2, 3, 9, 7}, 1).to(DType::bf16), wide = x.to(DType::f32);
  const PoolWindow w{3, 1, 1};
  for (const PoolCount count : {PoolCount::inside, PoolCount::all}) {
    CHECK(max_difference(avg_pool2d(x, w, count), avg_pool2d(wide, w, count).to(DType::bf16)) == 0);
    CHECK(max_difference(avg_pool2d_pull(x, x.shape(), w, count), avg_pool2d_pull(wide, x.shape(), w, count).to(DType::bf16)) == 0);
  }
  const MaxPooled pooled = max_pool2d_indexed(x, w);
  CHECK(max_difference(max_pool2d_pull(x, pooled.index, x.shape(), w), max_pool2d_pull(wide, pooled.index, x.shape(), w).to(DType::bf16)) == 0);
}

TEST_CASE("pooling passes all derivative checks") {
  for (const PoolWindow& w : windows) {
    if (w.kernel > 3) continue;
    CAPTURE(text(w));
    const Tensor x = sample_normal({3, 2, 5, 4}, 2);
    CHECK_NOTHROW(check_all([&](const std::vector<Var>& v) { return max_pool2d(v[0], w); }, {x}, {.name = "max_pool2d"}));
    CHECK_NOTHROW(check_all([&](const std::vector<Var>& v) { return square(max_pool2d(tanh(v[0]), w)); }, {x}, {.name = "square of max_pool2d"}));
    for (const PoolCount count : {PoolCount::inside, PoolCount::all})
      CHECK_NOTHROW(check_all([&](const std::vector<Var>& v) { return square(avg_pool2d(tanh(v[0]), w, count)); }, {x}, {.name = "avg_pool2d"}));
  }
}

TEST_CASE("max_pool2d: of equal elements the first in row-major order gets the gradient, and windows that overlap add up") {
  const auto gradient = [](const Tensor& x, PoolWindow w) {
    Tape tape;
    const Var leaf = tape.variable(x), y = max_pool2d(leaf, w);
    return tape.backward({{y, Tensor::ones(y.shape(), DType::f64)}})[leaf].to_vector<double>();
  };
  CHECK(gradient(Tensor::zeros({1, 1, 4, 4}, DType::f64), {2, 2, 0}) == std::vector<double>{1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0});
  CHECK(gradient(from({0, 1, 1, 0, 0, 1}, {1, 1, 2, 3}), {2, 1, 0}) == std::vector<double>{0, 2, 0, 0, 0, 0});
  CHECK(gradient(from({0, 1, 0, 2, 2, 0, 0, 1, 0}, {1, 1, 3, 3}), {2, 1, 0}) == std::vector<double>{0, 0, 0, 2, 2, 0, 0, 0, 0});
  // The last row and column fill no window.
  CHECK(gradient(from({1, 2, 9, 4, 3, 9, 9, 9, 9}, {1, 1, 3, 3}), {2, 2, 0}) == std::vector<double>{0, 0, 0, 1, 0, 0, 0, 0, 0});
}

// PyTorch 2: the comparison is `value > best || isnan(value)`, so the last NaN of a window is the one that gets the gradient.
TEST_CASE("max_pool2d: NaN and infinities") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  for (const DType type : {DType::f64, DType::f32, DType::bf16}) {
    const MaxPooled y = max_pool2d_indexed(from({1, nan, 2, inf, nan, 3, -inf, -inf, 5, 4, -inf, nan}, {1, 1, 2, 6}).to(type), {2, 2, 0});
    CHECK(y.index.to_vector<Int>() == std::vector<Int>{1, 3, 11});
    const std::vector<double> values = y.value.to_vector<double>();
    CHECK(std::isnan(values[0]));
    CHECK(values[1] == inf);
    CHECK(std::isnan(values[2]));
  }
  const MaxPooled lowest = max_pool2d_indexed(Tensor::full({1, 1, 3, 3}, -inf, DType::f32), {3, 1, 1});
  CHECK(lowest.value.to_vector<double>() == std::vector<double>(9, -inf));
  CHECK(lowest.index.to_vector<Int>() == std::vector<Int>{0, 0, 1, 0, 0, 1, 3, 3, 4});
  // The padding is below all numbers, and does not count in a mean of the positions inside.
  CHECK(max_pool2d(Tensor::full({1, 1, 2, 2}, -7, DType::f32), {3, 2, 1}).to_vector<double>() == std::vector<double>{-7});
  CHECK(avg_pool2d(Tensor::full({1, 1, 2, 2}, 9, DType::f64), {3, 2, 1}, PoolCount::inside).item() == 9);
  CHECK(avg_pool2d(Tensor::full({1, 1, 2, 2}, 9, DType::f64), {3, 2, 1}, PoolCount::all).item() == 4);
}

TEST_CASE("pooling of views, and of the first rows of a batch") {
  const Tensor x = sample_normal({3, 4, 5, 6}, 3), turned = x.transpose(2, 3), rows = x.slice(0, 0, 2);
  const PoolWindow w{3, 2, 1};
  CHECK(max_difference(max_pool2d(turned, w), max_pool2d(turned.contiguous(), w)) == 0);
  CHECK(max_difference(avg_pool2d(x.slice(1, 1, 3), w, PoolCount::all), avg_pool2d(x, w, PoolCount::all).slice(1, 1, 3)) == 0);
  CHECK(max_difference(max_pool2d(rows, w), max_pool2d(x, w).slice(0, 0, 2)) == 0);
}

TEST_CASE("pooling: results do not depend on the number of threads") {
  const int before = omp_get_max_threads();
  const Tensor x = sample_normal({2, 17, 61, 59}, 4, DType::f32), gy = sample_normal({2, 17, 31, 30}, 5, DType::f32);
  const PoolWindow w{3, 2, 1};
  const auto run = [&](int threads) {
    omp_set_num_threads(threads);
    const MaxPooled y = max_pool2d_indexed(x, w);
    return std::vector<std::vector<double>>{y.value.to_vector<double>(), y.index.to_vector<double>(), max_pool2d_pull(gy, y.index, x.shape(), w).to_vector<double>(),
                                            avg_pool2d(x, w, PoolCount::inside).to_vector<double>(), avg_pool2d_pull(gy, x.shape(), w, PoolCount::inside).to_vector<double>()};
  };
  const auto one = run(1);
  for (const int threads : {2, 3, 8}) CHECK(run(threads) == one);
  omp_set_num_threads(before);
}

TEST_CASE("errors of pooling name the values") {
  const Tensor x = Tensor::ones({1, 2, 4, 5});
  const auto refused = [&](const Tensor& t, PoolWindow w, const char* part) {
    CHECK_THROWS_WITH_AS(max_pool2d(t, w), doctest::Contains(part), ShapeError);
    CHECK_THROWS_WITH_AS(avg_pool2d(t, w, PoolCount::all), doctest::Contains(part), ShapeError);
  };
  refused(x, {2, 2, 2}, "kernel 2, stride 2, padding 2: kernel and stride must be 1 or more, the padding between 0 and half of the kernel");
  refused(x, {3, 0, 1}, "kernel 3, stride 0, padding 1");
  refused(x, {0, 1, 0}, "kernel 0");
  refused(x, {2, 1, -1}, "padding -1");
  refused(x, {5, 1, 0}, "a window of kernel 5, stride 1, padding 0 does not fit into x of shape [1, 2, 4, 5]");
  refused(x.transpose(2, 3), {5, 1, 0}, "does not fit into x of shape [1, 2, 5, 4]");
  refused(Tensor::ones({2, 4, 5}), {2, 2, 0}, "x of shape [2, 4, 5] must be (B, C, H, W)");
  refused(Tensor::ones({1, 1, 0, 5}), {2, 1, 1}, "does not fit into x of shape [1, 1, 0, 5]");
  CHECK_THROWS_AS(max_pool2d(x.to(DType::i32), {2, 2, 0}), DTypeError);
  CHECK_THROWS_AS(avg_pool2d(Tensor(), {2, 2, 0}, PoolCount::all), Error);
  CHECK_THROWS_AS(max_pool2d_push(x, Tensor::zeros({1, 2, 2, 2}, DType::i64), {2, 2, 0}), DTypeError);
  CHECK_THROWS_AS(max_pool2d_push(x, Tensor::zeros({1, 2, 2, 3}, DType::i32), {2, 2, 0}), ShapeError);
}
