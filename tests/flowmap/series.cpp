// Statistics of sequences: NumPy's numbers (tests/golden/series.py), the closed form of the synthetic sines, and the sensitivity of the errors.
#include "flowmap/metrics/series.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numbers>

#include "flowmap/metrics/sample_metrics.h"
#include "tensor/error.h"
#include "tensor/ops/elementwise.h"
#include "tensor/random/fill.h"
#include "tests/flowmap/sines.h"
#include "tests/support/error_of.h"
#include "tests/support/golden.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

double at(const Tensor& x, std::int64_t row, std::int64_t column) { return x.select(0, row).to_vector<double>()[std::size_t(column)]; }

// The samples of tests/golden/series.py.
Tensor samples(const std::string& key, std::int64_t n, std::int64_t channels, std::int64_t length, double shift) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < n * channels * length; ++i)
    values.push_back(static_cast<float>(named_number(key, i) + std::sin(0.9 * static_cast<double>(i % length) + shift)));
  return Tensor::from(values, {n, channels, length});
}

}  // namespace

TEST_CASE("series statistics agree with NumPy: mean, variance, numpy.correlate and numpy.fft.rfft") {
  const auto golden = golden_rows(FM_TESTS_FOLDER "/golden/series.txt");
  for (const auto& [n, channels, length] : {std::tuple{5, 2, 7}, {40, 1, 12}}) {
    const Tensor x = samples("series.x", n, channels, length, 0);
    const std::string name = std::to_string(n) + "_" + std::to_string(channels) + "_" + std::to_string(length);
    for (const Tensor& given : {x, x.to(DType::f64)}) {
      const SeriesStatistics s = series_statistics(given, 1000, 1000);
      CHECK(s.power.shape() == Shape{channels, length / 2 + 1});
      for (const auto& [part, wanted] : {std::pair{"mean", s.mean}, {"variance", s.variance}, {"correlation", s.correlation}, {"power", s.power}})
        CHECK(max_difference(wanted, Tensor::from(golden.at(name + "." + part), wanted.shape())) < 1e-12);
    }
    const SeriesStatistics few = series_statistics(x, 3, 2);
    CHECK(few.correlation.shape() == Shape{channels, 3});
    CHECK(few.power.shape() == Shape{channels, 2});
    CHECK(at(few.correlation, 0, 2) == at(series_statistics(x, 1000, 1).correlation, 0, 2));
  }
  CHECK_THROWS_WITH_AS(series_statistics(Tensor::zeros({3, 4}), 1, 1),
                       "series_statistics: samples [3, 4], 1 lags, 1 frequencies: needs samples (n, C, L) with at least one value, and at least 1 lag and 1 frequency", ShapeError);
  const Tensor bad = Tensor::zeros({3, 1, 4});
  bad.data<float>()[9] = std::nanf("");
  CHECK_THROWS_WITH_AS(series_statistics(bad, 1, 1), "series_statistics: sample 2 is not finite", Error);
}

TEST_CASE("the statistics of the synthetic sines agree with their definition") {
  constexpr std::int64_t length = 32;
  const SeriesStatistics s = series_statistics(sines(0, 4000, 2, length), length / 2, 12);
  for (std::int64_t c = 0; c < 2; ++c) {
    for (std::int64_t l = 0; l < length; ++l) {
      CHECK(near_zero(at(s.mean, c, l), 0.06));                       // deviation 1/sqrt(4000) = 0.016
      CHECK(near(at(s.variance, c, l), 1.0, 0.06));                   // deviation sqrt(1/2 ...)/sqrt(4000) = 0.013
    }
    for (std::int64_t k = 0; k < length / 2; ++k) CHECK(near_zero(at(s.correlation, c, k) - correlation_of_sines(k, length), 0.02));
    for (std::int64_t f = 0; f < 12; ++f) CHECK(near_zero(at(s.power, c, f) - (f == 0 || f > 8 ? 0 : f <= 4 ? 0.16 : 0.09), 1e-6));
  }
}

TEST_CASE("series errors agree with NumPy, and the list of metrics includes them") {
  const auto golden = golden_rows(FM_TESTS_FOLDER "/golden/series.txt");
  for (const auto& [n, channels, length] : {std::tuple{5, 2, 7}, {40, 1, 12}, {4, 1, 300}}) {
    const Tensor x = samples("series.x", n, channels, length, 0), y = samples("series.y", n + 3, channels, length, 0.3);
    const std::vector<double> wanted = golden.at(std::to_string(n) + "_" + std::to_string(channels) + "_" + std::to_string(length) + ".errors");
    const SeriesErrors e = series_errors(x, y);
    CHECK(near(e.mean, wanted.at(0), 1e-11));
    CHECK(near(e.variance, wanted.at(1), 1e-11));
    CHECK(near(e.correlation, wanted.at(2), 1e-11));
    CHECK(near(e.power, wanted.at(3), 1e-11));
    const Tensor made = x.reshape({n, -1}), real = y.reshape({n + 3, -1});
    const GaussianFit fit = fit_gaussian(real);
    const auto measured = measured_metrics({real, fit, made, 2, {channels, length}});
    CHECK(measured.at("correlation_error") == e.correlation);
    CHECK(measured.at("power_error") == e.power);
    CHECK(measured.contains("energy_distance"));
    const auto vectors = measured_metrics({real, fit, made, 2, {channels * length}}), others = measured_metrics({real, fit, made, 2});
    CHECK(vectors.contains("energy_distance"));
    CHECK_FALSE(vectors.contains("mean_error"));
    CHECK_FALSE(others.contains("energy_distance"));
    CHECK(others.at("frechet") == measured.at("frechet"));
  }
}

TEST_CASE("each series error detects its own fault of generated sequences, and is small without a fault") {
  const std::int64_t n = 2000, length = 32;
  const Tensor real = sines(0, n, 1, length), other = sines(4000, n, 1, length);
  const SeriesErrors right = series_errors(other, real);
  CHECK(right.mean < 0.05);                                            // sqrt(2 / 2000) = 0.03
  CHECK(right.variance < 0.05);
  CHECK(right.correlation < 0.01);
  CHECK(right.power < 1e-5);
  const SeriesErrors shifted = series_errors(affine(other, 1, 0.3), real);
  CHECK(near(shifted.mean, 0.3, 0.1));
  CHECK(shifted.variance < 0.05);
  CHECK(shifted.correlation < 0.01);
  CHECK(near(shifted.power, 0.09, 1e-3));                              // 0.3^2 at frequency 0
  const SeriesErrors louder = series_errors(affine(other, 1.2, 0), real);
  CHECK(near(louder.variance, 0.44, 0.05));
  CHECK(louder.correlation < 0.01);
  CHECK(near(louder.power, 0.44, 1e-3));
  Tensor shuffled = other.clone();                                     // each position from another sample: means and variances stay
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t l = 0; l < length; ++l) shuffled.data<float>()[i * length + l] = other.data<float>()[(i + 37 * l) % n * length + l];
  const SeriesErrors apart = series_errors(shuffled, real);
  CHECK(near(apart.mean, right.mean, 1e-6));
  CHECK(near(apart.variance, right.variance, 1e-6));
  double squares = 0;                                                  // positions of a shuffled sample are independent
  for (std::int64_t k = 1; k <= length / 2; ++k) squares += std::pow(correlation_of_sines(k, length), 2);
  CHECK(near(apart.correlation, std::sqrt(squares / (static_cast<double>(length) / 2)), 0.02));
  CHECK(apart.power > 0.9);
}

TEST_CASE("undefined errors are NaN; sequences of another shape are refused") {
  const Tensor real = sines(0, 50, 2, 32);
  Tensor silent = real.clone();
  silent.slice(1, 1, 2).fill(0.5);                                     // channel 1 is constant
  CHECK(std::isnan(series_errors(silent, real).correlation));
  CHECK(std::isfinite(series_errors(silent, real).variance));
  CHECK(series_errors(silent, silent).correlation == 0);               // that of channel 0 alone
  CHECK(std::isnan(series_errors(real, Tensor::zeros({3, 2, 32})).mean));
  CHECK(error_of<ShapeError>([&] { series_errors(real, sines(0, 50, 1, 32)); }) ==
        "series_errors: generated samples [50, 2, 32], real ones [50, 1, 32]: both must be (n, C, L) with L of 2 or more, and with equal C and L");
}
