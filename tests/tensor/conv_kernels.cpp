// Convolutions of every instruction set against the definition (conv.h) in plain loops and double, over kernels, strides and paddings;
// the three are transposes of one another; results do not depend on the number of threads.
#include "tensor/kernels/cpu/conv.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/support/kernel_check.h"

namespace {

using fm::cpu::ConvFunctions;
using fm::cpu::ConvShape;
using fm::test::each_isa;
using Int = std::int64_t;

Int size_x(const ConvShape& s) { return s.batch * s.in_channels * s.height * s.width; }
Int size_w(const ConvShape& s) { return s.out_channels * s.in_channels * s.kernel_h * s.kernel_w; }
Int size_y(const ConvShape& s) { return s.batch * s.out_channels * s.out_height() * s.out_width(); }

// Calls f(index in x, in w, in y) for every product in the sums of the definition.
template <class F>
void for_each_term(const ConvShape& s, const F& f) {
  const Int rows = s.out_height(), columns = s.out_width();
  for (Int n = 0; n < s.batch; ++n)
    for (Int o = 0; o < s.out_channels; ++o)
      for (Int i = 0; i < rows; ++i)
        for (Int j = 0; j < columns; ++j)
          for (Int c = 0; c < s.in_channels; ++c)
            for (Int u = 0; u < s.kernel_h; ++u)
              for (Int v = 0; v < s.kernel_w; ++v) {
                const Int h = i * s.stride_h - s.pad_h + u, w = j * s.stride_w - s.pad_w + v;
                if (h < 0 || h >= s.height || w < 0 || w >= s.width) continue;
                f(((n * s.in_channels + c) * s.height + h) * s.width + w, ((o * s.in_channels + c) * s.kernel_h + u) * s.kernel_w + v,
                  ((n * s.out_channels + o) * rows + i) * columns + j);
              }
}

// Values with few bits, so that the plain loops in double are almost exact.
template <class T>
std::vector<T> random_values(Int count, std::uint64_t seed) {
  std::vector<T> values;
  for (double x : fm::test::random_array(count, seed)) values.push_back(T(float(std::round(x * 0x1p16) * 0x1p-16)));
  return values;
}

// `terms`: the most products that one element sums. Each product is at most 1 in size. `factor` is 4 for Winograd's algorithm, whose terms are larger
// than the products (an error in one of its constants is far above that). Results in bf16 are rounded once more.
template <class T, class Y>
Int count_bad(const std::vector<Y>& got, const std::vector<double>& want, double terms, double factor = 1) {
  Int bad = 0;
  const double allowed = factor * double(std::numeric_limits<T>::epsilon()) * (8 + 4 * std::sqrt(terms) + terms / 16);
  const double rounding = std::is_same_v<Y, fm::bf16> ? 0x1p-8 : 0;
  for (std::size_t i = 0; i < want.size(); ++i) bad += !(std::fabs(double(got[i]) - want[i]) <= allowed + rounding * (std::fabs(want[i]) + allowed));
  return bad;
}

template <class T, class X, class Y>
void check(const ConvShape& s, const ConvFunctions<T, X, Y>& conv, bool with_bias, bool accumulate) {
  const std::vector<X> x = random_values<X>(size_x(s), 1);
  const std::vector<T> w = random_values<T>(size_w(s), 2), bias = random_values<T>(s.out_channels, 4);
  const std::vector<Y> gy = random_values<Y>(size_y(s), 3);
  std::vector<Y> y = random_values<Y>(size_y(s), 5);
  std::vector<X> gx = random_values<X>(size_x(s), 6);
  std::vector<T> gw = random_values<T>(size_w(s), 7);
  const auto start = [&](const auto& values) {
    std::vector<double> d(values.begin(), values.end());
    if (!accumulate) std::fill(d.begin(), d.end(), 0.0);
    return d;
  };
  std::vector<double> want_y = start(y), want_gx = start(gx), want_gw = start(gw);
  const Int pixels = s.out_height() * s.out_width();
  for (std::size_t i = 0; with_bias && i < want_y.size(); ++i) want_y[i] += double(bias[std::size_t(Int(i) / pixels % s.out_channels)]);
  for_each_term(s, [&](Int ix, Int iw, Int iy) {
    const std::size_t a = std::size_t(ix), b = std::size_t(iw), c = std::size_t(iy);
    want_y[c] += double(w[b]) * double(x[a]);
    want_gx[a] += double(w[b]) * double(gy[c]);
    want_gw[b] += double(gy[c]) * double(x[a]);
  });
  conv.forward(s, x.data(), w.data(), with_bias ? bias.data() : nullptr, y.data(), accumulate);
  conv.grad_input(s, gy.data(), w.data(), gx.data(), accumulate);
  conv.grad_weight(s, x.data(), gy.data(), gw.data(), accumulate);
  const Int taps = s.kernel_h * s.kernel_w;
  const bool winograd = std::is_same_v<T, float> && taps == 9 && s.stride_h == 1 && s.stride_w == 1;
  const auto factor = [&](Int channels) { return winograd && channels >= 16 ? 4.0 : 1.0; };
  CHECK(count_bad<T>(y, want_y, double(s.in_channels * taps), factor(s.in_channels)) == 0);
  CHECK(count_bad<T>(gx, want_gx, double(s.out_channels * taps), factor(s.out_channels)) == 0);
  CHECK(count_bad<T>(gw, want_gw, double(s.batch * pixels)) == 0);
}

void check_all(const ConvShape& s) {
  INFO("batch " << s.batch << ", " << s.in_channels << " -> " << s.out_channels << " channels, " << s.height << "x" << s.width
                << ", kernel " << s.kernel_h << "x" << s.kernel_w << ", stride " << s.stride_h << "x" << s.stride_w << ", pad " << s.pad_h
                << "x" << s.pad_w);
  each_isa([&](const std::string& isa) {
    CAPTURE(isa);
    for (bool accumulate : {false, true})
      for (bool with_bias : {false, true}) {
        check(s, fm::cpu::conv_kernels().f32, with_bias, accumulate);
        check(s, fm::cpu::conv_kernels().f64, with_bias, accumulate);
        check(s, fm::cpu::conv_kernels().half, with_bias, accumulate);
        check(s, fm::cpu::conv_kernels().half_to_f32, with_bias, accumulate);
      }
  });
}

}  // namespace

TEST_CASE("conv: all combinations of kernel sizes, strides and paddings") {
  for (Int kernel : {1, 2, 3, 5})
    for (Int stride : {1, 2, 3})
      for (Int pad : {0, 1, 2}) check_all({2, 3, 7, 9, 5, kernel, kernel, stride, stride, pad, pad});
}

TEST_CASE("conv: different sizes, kernels, strides and paddings in height and width") {
  check_all({2, 3, 11, 6, 4, 3, 2, 2, 1, 0, 2});
  check_all({1, 2, 5, 13, 3, 1, 7, 1, 3, 0, 3});
  check_all({3, 1, 4, 4, 1, 4, 4, 4, 4});                  // one patch per image
  check_all({2, 2, 2, 2, 3, 3, 3, 1, 1, 2, 2});            // kernel larger than the image
  check_all({1, 2, 3, 3, 2, 1, 1, 1, 1, 4, 4});            // whole rows of padding
  check_all({2, 3, 8, 8, 4, 2, 2, 2, 2});                  // patchify
}

TEST_CASE("conv: several blocks of pixels") {
  check_all({1, 33, 33, 31, 7, 3, 3, 1, 1, 1, 1});         // 1023 pixels, 297 rows of the patch matrix
  check_all({2, 70, 23, 20, 5, 4, 4, 1, 2, 2, 1});
}

// In f32 these take Winograd's algorithm (16 channels, 8x8 pixels and more): y if the input channels are enough, gx if the output channels are.
TEST_CASE("conv: 3x3 kernels with stride 1 and 16 channels or more, whose sizes are no multiples of a tile") {
  for (Int pad : {0, 1, 2}) check_all({2, 16, 11, 14, 18, 3, 3, 1, 1, pad, pad});
  check_all({1, 17, 8, 8, 16, 3, 3, 1, 1, 1, 1});
  check_all({1, 16, 10, 9, 3, 3, 3, 1, 1, 2, 0});          // few output channels: gx takes the other way
  check_all({1, 3, 10, 9, 20, 3, 3, 1, 1, 1, 1});          // few input channels: y takes the other way
  check_all({1, 16, 9, 8, 16, 3, 3, 1, 1, 0, 1});          // 7 rows of y: fewer than Winograd's algorithm is used for
}

TEST_CASE("conv: rows of more tiles than a block has, and blocks with rows of several images") {
  check_all({1, 16, 8, 258, 16, 3, 3, 1, 1, 1, 1});
  check_all({3, 16, 20, 19, 17, 3, 3, 1, 1, 1, 1});
}

TEST_CASE("conv: an empty batch, and a kernel larger than the image, so no output pixel") {
  check_all({0, 3, 4, 4, 2, 3, 3});
  check_all({0, 16, 12, 12, 16, 3, 3, 1, 1, 1, 1});        // Winograd's algorithm
  check_all({2, 3, 2, 2, 2, 3, 3});                        // the kernel does not fit: no output pixel
}

TEST_CASE("conv: results do not depend on the number of threads") {
  const int before = omp_get_max_threads();
  const auto run = [](const ConvShape& s, int threads) {
    omp_set_num_threads(threads);
    const auto& conv = fm::cpu::conv_kernels().f32;
    const std::vector<float> x = random_values<float>(size_x(s), 1), w = random_values<float>(size_w(s), 2),
                             gy = random_values<float>(size_y(s), 3);
    std::vector<float> all(static_cast<std::size_t>(size_y(s) + size_x(s) + size_w(s)));
    conv.forward(s, x.data(), w.data(), w.data(), all.data(), false);
    conv.grad_input(s, gy.data(), w.data(), all.data() + size_y(s), false);
    conv.grad_weight(s, x.data(), gy.data(), all.data() + size_y(s) + size_x(s), false);
    return all;
  };
  for (const ConvShape& s : {ConvShape{1, 70, 33, 31, 37, 3, 3, 1, 1, 1, 1}, ConvShape{1, 2, 101, 99, 7, 3, 3, 1, 1, 1, 1}, ConvShape{2, 200, 40, 36, 210, 3, 3, 1, 1, 1, 1},
                             ConvShape{5, 3, 32, 32, 64, 3, 3, 2, 2, 1, 1},
                             ConvShape{3, 64, 16, 16, 32, 1, 1}, ConvShape{1, 2, 64, 64, 16, 2, 2, 2, 2}}) {
    const std::vector<float> one = run(s, 1);
    for (int threads : {2, 3, 8}) {
      const std::vector<float> many = run(s, threads);
      CHECK(std::memcmp(one.data(), many.data(), one.size() * sizeof(float)) == 0);
    }
  }
  omp_set_num_threads(before);
}

TEST_CASE("conv: an image has the same result in every batch") {
  const ConvShape all{3, 20, 20, 19, 18, 3, 3, 1, 1, 1, 1};
  ConvShape one = all;
  one.batch = 1;
  const auto& conv = fm::cpu::conv_kernels().f32;
  const std::vector<float> x = random_values<float>(size_x(all), 1), w = random_values<float>(size_w(all), 2);
  std::vector<float> y(static_cast<std::size_t>(size_y(all))), gx(x.size()), alone(static_cast<std::size_t>(size_y(one))), gx_alone(static_cast<std::size_t>(size_x(one)));
  conv.forward(all, x.data(), w.data(), nullptr, y.data(), false);
  conv.grad_input(all, y.data(), w.data(), gx.data(), false);
  for (Int i = 0; i < all.batch; ++i) {
    conv.forward(one, x.data() + i * size_x(one), w.data(), nullptr, alone.data(), false);
    conv.grad_input(one, alone.data(), w.data(), gx_alone.data(), false);
    CHECK(std::memcmp(y.data() + i * size_y(one), alone.data(), alone.size() * sizeof(float)) == 0);
    CHECK(std::memcmp(gx.data() + i * size_x(one), gx_alone.data(), gx_alone.size() * sizeof(float)) == 0);
  }
}
