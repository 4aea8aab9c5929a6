// The kernel distance (KID) against NumPy in float64 (tests/golden/kernel_distance.py) and against closed forms.
#include "flowmap/metrics/kernel_distance.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>
#include <limits>

#include "flowmap/metrics/sample_metrics.h"
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

Tensor line(const std::vector<float>& x) { return Tensor::from(x, {static_cast<std::int64_t>(x.size()), 1}); }

}  // namespace

TEST_CASE("kernel distances agree with NumPy in f64, for sets smaller and larger than a block") {
  const auto golden = golden_rows(FM_TESTS_FOLDER "/golden/kernel_distance.txt");
  for (const auto& [n, m, d] : {std::tuple{80, 80, 16}, {32, 32, 16}, {96, 80, 16}, {2, 3, 1}, {600, 513, 7}}) {
    const std::string name = std::to_string(n) + "_" + std::to_string(m) + "_" + std::to_string(d);
    CAPTURE(name);
    const double wanted = golden.at(name)[0];
    CHECK(near(kernel_distance(x_table(n, d), y_table(m, d)), wanted, 1e-6));
    CHECK(near(kernel_distance(y_table(m, d), x_table(n, d)), wanted, 1e-6));
    CHECK(near(kernel_distance(x_table(n, d).to(DType::f64), y_table(m, d)), wanted, 1e-12));
    CHECK(near(kernel_distance(x_table(n, d), y_table(m, d).to(DType::f64)), wanted, 1e-12));
  }
  const Tensor x = x_table(96, 16);
  CHECK(near_within(kernel_distance(x.slice(0, 0, 48), x.slice(0, 48, 96)), golden.at("near")[0], 1e-6));
  CHECK(near(golden.at("80_80_16")[0], 0.229308168327, 1e-11));          // torch-fidelity's estimator on all 80 rows
  CHECK(near(golden.at("32_32_16")[0], 0.186121238251, 1e-11));
}

TEST_CASE("kernel distances of a few points agree with values computed by hand") {
  CHECK(near(kernel_distance(line({0, 0, 0}), line({1, 1})), 7, 1e-15));          // 1 + 8 - 2
  CHECK(near(kernel_distance(line({0, 1}), line({0, 1})), 2 - 11 / 2.0, 1e-15));        // no point is paired with itself: 1 + 1 - 2 (1 + 1 + 1 + 8) / 4
  CHECK(near(kernel_distance(line({1, 2}), line({-1, 3})), 27 - 8 - 2 * (0 + 64 - 1 + 343) / 4.0, 1e-15));
}

// E k(x, y) = 1 + 3 E[x] E[y] + 3 E[x^2] E[y^2] + E[x^3] E[y^3] for numbers x and y; the moments of N(a, 1) are a, a^2 + 1 and a^3 + 3 a.
TEST_CASE("the kernel distance is unbiased, for two different normal distributions and for two samples of one") {
  const std::int64_t n = 3000;
  const auto normal = [&](std::uint32_t stream, std::int64_t rows) { return random_normal({rows, 1}, {3, stream}); };
  const auto term = [](double a, double b) {
    return 1 + 3 * a * b + 3 * (a * a + 1) * (b * b + 1) + (a * a * a + 3 * a) * (b * b * b + 3 * b);
  };
  CHECK(near(kernel_distance(normal(1, n), normal(2, n) + 0.5), term(0, 0) + term(0.5, 0.5) - 2 * term(0, 0.5), 0.15));
  double small = 0;
  for (std::uint32_t i = 0; i < 400; ++i) small += kernel_distance(normal(10 + i, 8), normal(1000 + i, 8)) / 400;
  double of_many = 0;
  for (std::uint32_t i = 0; i < 400; ++i) of_many += kernel_distance(normal(10 + i, 8), normal(1000 + i, 8) + 0.5) / 400;
  CHECK(near_zero(small, 0.6));
  CHECK(near_within(of_many, term(0, 0) + term(0.5, 0.5) - 2 * term(0, 0.5), 1.2));
}

TEST_CASE("kernel distances have the same bits for any number of threads") {
  const Tensor x = x_table(700, 9), y = y_table(900, 9);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const double one = kernel_distance(x, y);
  omp_set_num_threads(2);
  CHECK(kernel_distance(x, y) == one);
  omp_set_num_threads(threads);
}

TEST_CASE("kernel_distance refuses sets that it cannot compare; the list of metrics includes it") {
  const Tensor x = x_table(4, 3);
  CHECK(has(error_of<ShapeError>([&] { kernel_distance(x, x_table(4, 2)); }), "kernel_distance: features [4, 3] and [4, 2]: each set needs 2 rows or more"));
  CHECK_THROWS_AS(kernel_distance(x.slice(0, 0, 1), x), ShapeError);
  Tensor bad = x_table(4, 3).clone();
  bad.select(0, 2).select(0, 1).fill(std::numeric_limits<double>::quiet_NaN());
  CHECK(has(error_of([&] { kernel_distance(x, bad); }), "kernel_distance: row 2 of y is not finite"));
  const Tensor real = x_table(40, 5), generated = y_table(50, 5);
  const std::map<std::string, double> all = measured_metrics({real, fit_gaussian(real), generated});
  CHECK(all.at("kid") == kernel_distance(generated, real));
  CHECK(measured_metrics({.real = real, .real_fit = fit_gaussian(real), .generated = generated, .sample = {5}}).count("kid") == 0);      // values, not features of a network
}

TEST_CASE("kernel distances of random subsets agree with torch-fidelity and NumPy") {
  const auto golden = golden_rows(FM_TESTS_FOLDER "/golden/evaluation_metrics.txt");
  const auto check = [](const Spread& e, double mean, double deviation, double tolerance) {
    CHECK(near(e.mean, mean, tolerance));
    CHECK(near(e.deviation, deviation, tolerance));
  };
  const Tensor x = x_table(96, 16), y = y_table(80, 16);
  check(kernel_distance_of_subsets(x.to(DType::f64), y, {10, 40}), 0.213369360171, 0.0611788705075, 1e-11);       // torch-fidelity in f64
  check(kernel_distance_of_subsets(x, y, {10, 40}), golden.at("kid_10_40")[0], golden.at("kid_10_40")[1], 1e-5);
  check(kernel_distance_of_subsets(x_table(41, 5).to(DType::f64), y_table(37, 5).to(DType::f64), {7, 23, 11}), golden.at("kid_7_23")[0], golden.at("kid_7_23")[1], 1e-11);
  const Spread one = kernel_distance_of_subsets(x_table(3, 1), y_table(2, 1), {1, 2, 0});
  CHECK(near(one.mean, golden.at("kid_1_2")[0], 1e-5));
  CHECK(one.deviation == 0);
}

TEST_CASE("subsets of all rows have the kernel distance of all rows, and no deviation") {
  const Tensor x = x_table(50, 4).to(DType::f64), y = y_table(50, 4);
  const Spread e = kernel_distance_of_subsets(x, y, {3, 50, 1});
  CHECK(near(e.mean, kernel_distance(x, y), 1e-12));
  CHECK(near_zero(e.deviation, 1e-14));
}

TEST_CASE("kernel_distance_of_subsets has torch-fidelity's numbers of subsets and rows, and refuses smaller sets") {
  CHECK(KernelSubsets{}.subsets == 100);
  CHECK(KernelSubsets{}.rows == 1000);
  CHECK(KernelSubsets{}.seed == 2020);
  const Tensor x = x_table(1000, 2), few = x_table(999, 2);
  CHECK(has(error_of<ShapeError>([&] { kernel_distance_of_subsets(x, few); }), "kernel_distance_of_subsets: features [1000, 2] and [999, 2]: each set needs 1000 rows or more"));
  CHECK_THROWS_AS(kernel_distance_of_subsets(few, x), ShapeError);
  CHECK_THROWS_AS(kernel_distance_of_subsets(x, x_table(1000, 3)), ShapeError);
  CHECK_THROWS_AS(kernel_distance_of_subsets(x, x, {0, 10}), ConfigError);
  CHECK(has(error_of<ConfigError>([&] { kernel_distance_of_subsets(x, x, {5, 1}); }), "5 subsets of 1 rows"));
  CHECK(has(error_of([&] { kernel_distance_of_subsets(x, with_number(x, 17, NAN), {1, 2}); }), "row 17 of y is not finite"));
}
