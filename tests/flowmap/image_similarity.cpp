// PSNR and SSIM against torchmetrics in f64 (published examples), NumPy (tests/golden/evaluation_metrics.py) and closed forms.
#include "flowmap/metrics/image_similarity.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>

#include "tensor/error.h"
#include "tensor/ops/elementwise.h"
#include "tensor/random/fill.h"
#include "tests/support/error_of.h"
#include "tests/support/feature_tables.h"
#include "tests/support/golden.h"
#include "tests/support/hash_fill.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr std::int64_t side = 64;

Tensor two_images(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  std::vector<std::uint8_t> both = a;
  both.insert(both.end(), b.begin(), b.end());
  return Tensor::from(both, {2, side, side, 3}).permute({0, 3, 1, 2});
}

// Numbers in [0, 1) as pictures() of the script makes them.
Tensor pictures(const std::string& key, const Shape& shape) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < shape.numel(); ++i) values.push_back(static_cast<float>((named_number(key, i) + 1) / 2));
  return Tensor::from(values, shape);
}

void agree(const std::vector<double>& found, const std::vector<double>& wanted, double tolerance) {
  REQUIRE(found.size() == wanted.size());
  for (std::size_t i = 0; i < found.size(); ++i) CHECK(near(found[i], wanted[i], tolerance));
}

}  // namespace

TEST_CASE("PSNR and SSIM of 8-bit images agree with torchmetrics in f64") {
  std::vector<std::vector<std::uint8_t>> image;
  for (int m = 0; m < 4; ++m) image.push_back(hash_image(m, side, side));
  const Tensor real = two_images(image[0], image[1]), other = two_images(image[2], image[3]),
               close = two_images(near_image(image[0], image[2]), near_image(image[1], image[3]));
  agree(ssim(real, other), {0.0970246304, 0.0829007865}, 2e-9);
  agree(ssim(real, close), {0.982820432, 0.982279499}, 1e-9);
  agree(ssim(real, close, SsimBorder::cropped), {0.983010704, 0.982588035}, 1e-9);
  agree(psnr(real, other), {12.7039663, 12.6207237}, 1e-8);
  agree(psnr(real, close), {30.7843638, 30.7116472}, 1e-8);
  agree(ssim(real.to(DType::f32) / 255.0, other), {0.0970246304, 0.0829007865}, 1e-6);     // one set in f32
  agree(psnr(real.to(DType::f32) / 255.0, close.to(DType::f32) / 255.0), {30.7843638, 30.7116472}, 1e-6);
}

TEST_CASE("PSNR and SSIM agree with NumPy at odd sizes and numbers of channels, and down to the smallest sizes") {
  const auto golden = golden_rows(FM_TESTS_FOLDER "/golden/evaluation_metrics.txt");
  for (const auto& [key, shape] : {std::pair<std::string, Shape>{"2_3_13_17", {2, 3, 13, 17}}, {"3_1_6_7", {3, 1, 6, 7}}, {"1_2_11_30", {1, 2, 11, 30}}}) {
    const std::string name = key;
    CAPTURE(name);
    const Tensor a = pictures("image.a", shape);
    const Tensor b = (a.to(DType::f64) * 0.75 + pictures("image.b", shape).to(DType::f64) * 0.25).to(DType::f32);
    agree(ssim(a, b), golden.at("ssim_" + name), 1e-12);
    agree(ssim(b, a), golden.at("ssim_" + name), 1e-12);
    agree(psnr(a, b), golden.at("psnr_" + name), 1e-12);
    if (golden.count("ssim_cropped_" + name)) agree(ssim(a, b, SsimBorder::cropped), golden.at("ssim_cropped_" + name), 1e-12);
  }
}

TEST_CASE("equal images have 100 dB and a similarity of 1; constant images have the closed form of the means") {
  const Tensor x = random_uniform({3, 2, 12, 11}, {1, 1});
  CHECK(psnr(x, x) == std::vector<double>(3, -10 * std::log10(1e-10)));
  agree(ssim(x, x), {1, 1, 1}, 1e-12);
  const Tensor dark = Tensor::full({1, 3, 8, 8}, 0.25), light = Tensor::full({1, 3, 8, 8}, 0.75);
  agree(ssim(dark, light), {(2 * 0.25 * 0.75 + 1e-4) / (0.0625 + 0.5625 + 1e-4)}, 1e-12);
  agree(psnr(dark, light), {10 * std::log10(4.0)}, 1e-13);
  const Tensor black = Tensor::full({1, 3, 8, 8}, 0, DType::u8), white = Tensor::full({1, 3, 8, 8}, 255, DType::u8);
  CHECK(near_zero(psnr(black, white)[0], 1e-12));       // a black image is not taken as one in another range
  agree(psnr(black, Tensor::full({1, 3, 8, 8}, 1, DType::u8)), {20 * std::log10(255.0)}, 1e-13);
}

TEST_CASE("an image's values do not depend on its neighbors, on strides or on the number of threads") {
  const Tensor a = random_uniform({4, 3, 20, 15}, {1, 1}), b = random_uniform({4, 3, 20, 15}, {1, 2});
  const std::vector<double> all = ssim(a, b), ratios = psnr(a, b);
  CHECK(ssim(a.slice(0, 2, 3), b.slice(0, 2, 3)) == std::vector<double>{all[2]});
  CHECK(psnr(a.slice(0, 2, 3), b.slice(0, 2, 3)) == std::vector<double>{ratios[2]});
  CHECK(ssim(a.permute({1, 0, 2, 3}).contiguous().permute({1, 0, 2, 3}), b) == all);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(2);
  CHECK(ssim(a, b) == all);
  omp_set_num_threads(threads);
}

TEST_CASE("images of other shapes, types and values are refused") {
  const Tensor a = random_uniform({2, 3, 11, 12}, {1, 1});
  CHECK(has(error_of<ShapeError>([&] { psnr(a, random_uniform({2, 3, 12, 11}, {1, 1})); }), "psnr: images [2, 3, 11, 12] and [2, 3, 12, 11]"));
  CHECK_THROWS_AS(psnr(a.reshape({6, 11, 12}), a.reshape({6, 11, 12})), ShapeError);
  CHECK_THROWS_AS(ssim(a.slice(0, 0, 0), a.slice(0, 0, 0)), ShapeError);
  CHECK(has(error_of<ShapeError>([&] { ssim(a.slice(2, 0, 5), a.slice(2, 0, 5)); }), "H and W of 6 or more"));
  CHECK_NOTHROW(ssim(a.slice(2, 0, 6), a.slice(2, 0, 6)));
  CHECK_NOTHROW(ssim(a, a, SsimBorder::cropped));
  CHECK(has(error_of<ShapeError>([&] { ssim(a.slice(3, 0, 10), a.slice(3, 0, 10), SsimBorder::cropped); }), "H and W of 11 or more"));
  CHECK_NOTHROW(psnr(a.slice(2, 0, 1), a.slice(2, 0, 1)));
  CHECK(has(error_of<DTypeError>([&] { ssim(a, a.to(DType::f64)); }), "ssim: images are f64, not u8 or f32"));
  CHECK(has(error_of([&] { psnr(a, with_number(a, 1, NAN)); }), "psnr: image 1 is not finite"));
}
