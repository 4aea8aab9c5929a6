// Frechet distances to one reference, their limit of many samples and their standard error, against NumPy (tests/golden/evaluation_metrics.py).
#include "flowmap/metrics/frechet_reference.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tensor/error.h"
#include "tensor/ops/elementwise.h"
#include "tensor/random/fill.h"
#include "tests/support/error_of.h"
#include "tests/support/feature_tables.h"
#include "tests/support/golden.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

FrechetReference reference(std::int64_t n, std::int64_t d = 16) { return FrechetReference(fit_gaussian(x_table(n, d))); }

double deviation(const std::vector<double>& x) {
  double mean = 0, squares = 0;
  for (const double v : x) mean += v / static_cast<double>(x.size());
  for (const double v : x) squares += (v - mean) * (v - mean);
  return std::sqrt(squares / static_cast<double>(x.size() - 1));
}

}  // namespace

TEST_CASE("distances from rows and from fits agree with the published examples") {
  CHECK(near(reference(96).distance(y_table(80)), 1.93217454464, 1e-11));
  CHECK(near(reference(12).distance(y_table(10)), 6.7181458245, 1e-10));
  CHECK(near(reference(96).distance(fit_gaussian(y_table(80))), 1.93217454464, 1e-11));
  CHECK(near_zero(reference(96).distance(x_table(96)), 1e-13));
}

TEST_CASE("few rows give the distance of their singular fit, for references of full and of lower rank") {
  for (const auto& [n, rows, width] : {std::tuple{300, 10, 16}, {12, 10, 16}, {90, 70, 100}, {300, 16, 16}, {300, 17, 16}, {40, 2, 7}, {2, 2, 3}, {9, 2, 1}}) {
    const std::int64_t m = rows, d = width;
    CAPTURE(m);
    CAPTURE(d);
    const GaussianFit real = fit_gaussian(x_table(n, d));
    const double wanted = frechet_distance(real, fit_gaussian(y_table(m, d)));
    CHECK(near(FrechetReference(real).distance(y_table(m, d)), wanted, 1e-12));
    CHECK(near(FrechetReference(real).distance(y_table(m, d).to(DType::f64)), wanted, 1e-12));
  }
  const auto frechet = golden_rows(FM_TESTS_FOLDER "/golden/frechet.txt");
  CHECK(near(reference(300).distance(y_table(10)), frechet.at("mixed")[0], 1e-12));
  CHECK(near(reference(90, 100).distance(y_table(70, 100)), frechet.at("wide")[0], 1e-12));
}

TEST_CASE("the limit of many samples agrees with NumPy: counts, distances and line") {
  const auto agree = [](const std::string& name, const FrechetLimit& limit) {
    CAPTURE(name);
    const std::vector<double>& wanted = golden_metric(name);
    const std::size_t n = limit.points.size();
    REQUIRE(wanted.size() == 2 + 2 * n);
    CHECK(near(limit.value, wanted[0], 1e-9));
    CHECK(near(limit.slope, wanted[1], 1e-9));
    for (std::size_t i = 0; i < n; ++i) {
      CHECK(static_cast<double>(limit.points[i].count) == wanted[2 + i]);
      CHECK(near(limit.points[i].distance, wanted[2 + n + i], 1e-11));
    }
  };
  agree("limit_200", frechet_infinity(y_table(200), reference(96)));
  agree("limit_61", frechet_infinity(y_table(61, 5), reference(96, 5), 4, 4));
  agree("limit_20", frechet_infinity(y_table(20, 3), reference(96, 3), 1));
}

TEST_CASE("the smallest subset has 5,000 rows for many samples, and the largest has all of them") {
  const Tensor many = random_normal({60000, 1}, {1, 4});
  const FrechetLimit limit = frechet_infinity(many, reference(50, 1), 2020, 2);
  REQUIRE(limit.points.size() == 2);
  CHECK(limit.points[0].count == 5000);
  CHECK(limit.points[1].count == 60000);
  CHECK(near(limit.points[1].distance, reference(50, 1).distance(many), 1e-11));
}

TEST_CASE("the mean limit is near 0 for samples of the reference's distribution, where finite distances are not") {
  const std::int64_t d = 8, n = 1000;
  GaussianFit exact{Tensor::zeros({d}, DType::f64), Tensor::zeros({d, d}, DType::f64)};
  for (std::int64_t i = 0; i < d; ++i) exact.covariance.data<double>()[i * d + i] = 1;
  const FrechetReference normal(exact);
  double limit = 0, finite = 0, slope = 0;
  for (std::uint32_t i = 0; i < 40; ++i) {
    const FrechetLimit one = frechet_infinity(random_normal({n, d}, {2, i}), normal, i);
    limit += one.value / 40, finite += one.points.back().distance / 40, slope += one.slope / 40;
  }
  CHECK(finite > 0.008);                                 // D/n of the mean alone
  CHECK(std::abs(limit) < 0.25 * finite);
  CHECK(near(slope / static_cast<double>(n), finite, 0.25));
}

TEST_CASE("the standard error agrees with NumPy and with the spread of distances of independent samples") {
  const FrechetError error = frechet_error(y_table(80), reference(96)), odd = frechet_error(y_table(31, 3), reference(40, 3), 5, 6);
  CHECK(near(error.deviation, golden_metric("halves_80")[0], 1e-10));
  CHECK(near(error.mean_of_halves, golden_metric("halves_80")[1], 1e-11));
  CHECK(error.halves == 20);
  CHECK(near(odd.deviation, golden_metric("halves_31")[0], 1e-10));
  CHECK(near(odd.mean_of_halves, golden_metric("halves_31")[1], 1e-11));
  const FrechetReference shifted(fit_gaussian(random_normal({5000, 4}, {3, 1}) + 0.5));
  std::vector<double> independent;
  double estimated = 0;
  for (std::uint32_t i = 0; i < 200; ++i) independent.push_back(shifted.distance(random_normal({400, 4}, {4, i})));
  for (std::uint32_t i = 0; i < 20; ++i) estimated += frechet_error(random_normal({400, 4}, {4, i}), shifted, 20, i).deviation / 20;
  CHECK(near(estimated, deviation(independent), 0.15));
}

TEST_CASE("features without a distance are refused by name") {
  const FrechetReference r = reference(20, 3);
  CHECK(r.width() == 3);
  CHECK(has(error_of<ShapeError>([&] { r.distance(y_table(20, 4)); }), "frechet_distance: features have different widths, [3] and [4]"));
  CHECK_THROWS_AS(r.distance(fit_gaussian(y_table(20, 2))), ShapeError);
  CHECK(has(error_of<ShapeError>([&] { r.distance(y_table(1, 3)); }), "frechet_distance: needs features (n, D) with n >= 2, got [1, 3]"));
  CHECK_THROWS_AS(r.distance(Tensor::zeros({0, 3})), ShapeError);
  CHECK_THROWS_AS(r.distance(Tensor::zeros({3})), ShapeError);
  CHECK(has(error_of([&] { r.distance(with_number(y_table(3, 3), 2, NAN)); }), "frechet_distance: the features of sample 2 are not finite"));
  CHECK(has(error_of<ShapeError>([&] { frechet_infinity(y_table(19, 3), r); }), "frechet_infinity: needs features (n, D) with n >= 20"));
  CHECK_THROWS_AS(frechet_infinity(y_table(20, 2), r), ShapeError);
  CHECK_THROWS_AS(frechet_infinity(y_table(20, 3), r, 1, 1), ConfigError);
  CHECK(has(error_of([&] { frechet_infinity(with_number(y_table(30, 3), 29, NAN), r); }), "frechet_infinity: the features of sample 29"));
  CHECK_THROWS_AS(frechet_error(y_table(3, 3), r), ShapeError);
  CHECK_THROWS_AS(frechet_error(y_table(30, 3), r, 1), ConfigError);
  CHECK(has(error_of([&] { frechet_error(with_number(y_table(30, 3), 7, NAN), r); }), "frechet_error: the features of sample 7"));
}
