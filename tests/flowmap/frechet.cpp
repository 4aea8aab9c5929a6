// Frechet distance and precision/recall against closed forms, and against NumPy and SciPy (tests/golden/frechet.py).
#include "flowmap/metrics/frechet.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "flowmap/metrics/factor.h"
#include "tensor/error.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/reduce.h"
#include "tensor/random/fill.h"
#include "tests/support/feature_tables.h"
#include "tests/support/golden.h"
#include "tests/support/near.h"

using namespace fm;
using test::near;
using test::near_zero;
using test::table;
using test::whole;
using test::x_table;
using test::y_table;

namespace {

Tensor apart(const Tensor& x, float offset) {
  const Tensor out = x.clone();
  for (std::int64_t i = 0; i < x.numel(); ++i) out.data<float>()[i] += i / x.dim(1) % 2 == 0 ? offset : -offset;
  return out;
}

Tensor dead(const Tensor& x) {
  const Tensor out = x.clone();
  for (std::int64_t i = 0; i < x.dim(0); ++i) {
    for (std::int64_t j = 3; j < 7; ++j) out.data<float>()[i * x.dim(1) + j] = 0;
    out.data<float>()[i * x.dim(1) + 9] = 0.25;
  }
  return out;
}

const std::vector<double>& golden(const std::string& name) {
  static const auto all = test::golden_rows(FM_TESTS_FOLDER "/golden/frechet.txt");
  return all.at(name);
}

double distance(const Tensor& x, const Tensor& y) { return frechet_distance(fit_gaussian(x), fit_gaussian(y)); }

// An orthogonal matrix: a product of reflections.
Tensor rotation(std::int64_t n) {
  Tensor q = Tensor::from(std::vector<double>(static_cast<std::size_t>(n * n), 0.0), {n, n});
  for (std::int64_t i = 0; i < n; ++i) q.data<double>()[i * n + i] = 1;
  for (std::uint32_t k = 0; k < 3; ++k) {
    const Tensor v = random_normal({n, 1}, {5, k}, 0, DType::f64);
    q = q - matmul(v, matmul(v.transpose(0, 1), q)) * (2 / sum_squares(v));
  }
  return q;
}

}  // namespace

TEST_CASE("singular_values finds the known singular values of constructed matrices") {
  for (const auto& shape : {std::pair<std::int64_t, std::int64_t>{9, 9}, {70, 33}, {33, 70}, {64, 64}, {1, 5}, {130, 97}}) {
    const std::int64_t m = shape.first, n = shape.second;
    CAPTURE(m);
    CAPTURE(n);
    const std::int64_t k = std::min(m, n);
    std::vector<double> wanted;
    for (std::int64_t i = 0; i < k; ++i) wanted.push_back(i % 5 == 3 ? 0 : std::pow(0.7, static_cast<double>(i)));
    const Tensor middle = rotation(m).slice(1, 0, k) * Tensor::from(wanted, {k});
    std::vector<double> found = singular_values(matmul(middle, rotation(n).slice(0, 0, k)));
    std::sort(wanted.begin(), wanted.end()), std::sort(found.begin(), found.end());
    REQUIRE(found.size() == wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) CHECK(near_zero(found[i] - wanted[i], 1e-14));
  }
  CHECK(singular_values(Tensor::zeros({3, 2}, DType::f64)) == std::vector<double>{0, 0});
  const double tiny = singular_values(Tensor::full({2, 2}, 1e-200, DType::f64))[1];
  CHECK(near(tiny, 2e-200, 1e-14));
}

TEST_CASE("a semidefinite factor reproduces its matrix and has as many rows as the matrix has rank") {
  for (const std::int64_t rank : {1, 31, 40, 100}) {
    CAPTURE(rank);
    const Tensor a = random_normal({rank, 100}, {3, 1}, 0, DType::f64), s = matmul(a.transpose(0, 1), a);
    const Tensor r = semidefinite_factor(s);
    CHECK(r.shape() == Shape{rank, 100});
    CHECK(sum_squares(matmul(r.transpose(0, 1), r) - s) < 1e-26 * sum_squares(s));
  }
  CHECK(semidefinite_factor(Tensor::zeros({4, 4}, DType::f64)).shape() == Shape{0, 4});
}

TEST_CASE("the Frechet distance of Gaussians with commuting covariances has its closed form") {
  // S1 = Q diag(a) Q^T, S2 = Q diag(b) Q^T:  |m|^2 + sum (sqrt a - sqrt b)^2
  const Tensor r = rotation(7);
  const Tensor a = Tensor::from(std::vector<double>{1, 2, 3, 4, 5, 0, 1e-10}, {7}),
               b = Tensor::from(std::vector<double>{2, 2, 1, 9, 0.5, 0, 4}, {7});
  const Tensor m = Tensor::from(std::vector<double>{1, 0, -1, 0.5, 0, 0, 0}, {7});
  const auto covariance = [&](const Tensor& d) { return matmul(r * d, r.transpose(0, 1)); };
  const double expected = sum_squares(m) + sum_squares(sqrt(a) - sqrt(b));
  CHECK(near(frechet_distance({m, covariance(a), 100}, {Tensor::zeros({7}, DType::f64), covariance(b), 100}), expected, 1e-11));
}

TEST_CASE("Frechet distances agree with NumPy") {
  CHECK(near(distance(x_table(96), y_table(80)), golden("full")[0], 1e-12));
  CHECK(near(distance(x_table(400, 100), y_table(500, 100)), golden("blocks")[0], 1e-12));
  CHECK(near(distance(x_table(96) + 1000.0, y_table(80) + 1000.0), golden("far_mean")[0], 1e-10));
  CHECK(near(distance(x_table(96), x_table(96) + 1e-3 * table("near", 96, 16, 0.5, 0, 1)), golden("near")[0], 1e-6));
  CHECK(near_zero(distance(x_table(96), x_table(96)), 1e-13));
}

TEST_CASE("Frechet distances of singular covariances are exact") {
  CHECK(near(distance(x_table(12), y_table(10)), golden("singular")[0], 1e-12));
  CHECK(near(distance(x_table(300), y_table(10)), golden("mixed")[0], 1e-12));
  CHECK(near(distance(x_table(2), y_table(2)), golden("two")[0], 1e-12));
  CHECK(near(distance(x_table(90, 100), y_table(70, 100)), golden("wide")[0], 1e-12));
  CHECK(near(distance(dead(x_table(96)), dead(y_table(80))), golden("dead")[0], 1e-12));
  CHECK(near(distance(dead(x_table(96)), y_table(80)), golden("dead_in_one")[0], 1e-12));
}

TEST_CASE("the fitted mean and covariance are those of the sample") {
  const Tensor x = Tensor::from(std::vector<double>{1, 2, 3, 6, 5, 1}, {3, 2});
  const GaussianFit g = fit_gaussian(x);
  CHECK(g.mean.to_vector<double>() == std::vector<double>{3, 3});
  CHECK(g.covariance.to_vector<double>() == std::vector<double>{4, -1, -1, 7});
  CHECK(g.count == 3);
  // More rows than one pass takes and more columns than one block, against sums in plain order.
  const Tensor many = random_normal({5000, 300}, {8, 1});
  const GaussianFit fit = fit_gaussian(many);
  const std::vector<float> values = many.to_vector<float>();
  const auto column = [&](std::size_t j) {
    std::vector<double> out;
    for (std::size_t i = 0; i < 5000; ++i) out.push_back(values[300 * i + j]);
    double mean = 0;
    for (double v : out) mean += v / 5000;
    for (double& v : out) v -= mean;
    return out;
  };
  for (const auto& [i, j] : {std::pair<std::size_t, std::size_t>{0, 0}, {3, 270}, {270, 3}, {255, 256}, {299, 299}, {299, 128}}) {
    const std::vector<double> a = column(i), b = column(j);
    double wanted = 0;
    for (std::size_t r = 0; r < 5000; ++r) wanted += a[r] * b[r] / 4999;
    CHECK(near_zero(fit.covariance.data<double>()[300 * i + j] - wanted, 1e-14));
  }
}

TEST_CASE("samples that are not finite are refused with the number of the first one") {
  for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
    const Tensor x = random_normal({20, 3}, {1, 1});
    x.data<float>()[3 * 13 + 1] = x.data<float>()[3 * 17] = bad;
    CHECK(first_row_not_finite(x) == 13);
    CHECK_THROWS_WITH_AS(fit_gaussian(x), doctest::Contains("sample 13"), Error);
    CHECK_THROWS_WITH_AS(precision_recall(x, random_normal({20, 3}, {1, 2})), doctest::Contains("real sample 13"), Error);
    CHECK_THROWS_WITH_AS(precision_recall(random_normal({20, 3}, {1, 2}), x), doctest::Contains("generated sample 13"), Error);
  }
  CHECK(first_row_not_finite(random_normal({20, 3}, {1, 1})) == -1);
}

TEST_CASE("precision and recall agree with NumPy, with ties and duplicates") {
  for (const int k : {1, 3, 5}) {
    CAPTURE(k);
    const auto agree = [&](const std::string& name, const Tensor& x, const Tensor& y) {
      const PrecisionRecall pr = precision_recall(x, y, k);
      CHECK(near(pr.precision, golden(name + std::to_string(k))[0], 1e-15));
      CHECK(near(pr.recall, golden(name + std::to_string(k))[1], 1e-15));
    };
    agree("neighbours_", x_table(96), y_table(80));
    agree("ties_", whole("ties.x", 90, 2, 0, 5, 0), whole("ties.y", 70, 2, 1, 6, 0));
    agree("far_", whole("far.x", 90, 24, 0, 3, 4096), whole("far.y", 70, 24, 0, 3, 4096));
    agree("apart_", apart(whole("far.x", 90, 24, 0, 3, 0), 3000), apart(whole("far.y", 70, 24, 0, 3, 0), 3000));
  }
}

TEST_CASE("precision and recall are right for copies, for one repeated point, and for numbers too large to square") {
  const Tensor x = random_normal({700, 5}, {4, 1});
  const PrecisionRecall copies = precision_recall(x, x.clone(), 1);  // each copy is at distance 0 from its sample, in a ball of positive radius
  CHECK(copies.precision == 1.0);
  CHECK(copies.recall == 1.0);
  const Tensor one = x.slice(0, 9, 10).expand({600, 5}).contiguous();  // 600 times the same real sample: the balls around these have radius 0
  const PrecisionRecall collapsed = precision_recall(x, one);
  CHECK(collapsed.precision == 1.0);
  CHECK(near(collapsed.recall, 1.0 / 700, 1e-15));
  const PrecisionRecall usual = precision_recall(x, random_normal({600, 5}, {4, 2})),
                        huge = precision_recall(x * 0x1p70, random_normal({600, 5}, {4, 2}) * 0x1p70);
  CHECK(usual.precision < 1);
  CHECK(huge.precision == usual.precision);
  CHECK(huge.recall == usual.recall);
}

TEST_CASE("precision and recall measure which modes are covered") {
  const Tensor real = random_normal({400, 3}, {1, 1}), far = real + 100.0;
  const PrecisionRecall same = precision_recall(real, real);
  CHECK(same.precision == 1.0);
  CHECK(same.recall == 1.0);
  CHECK(precision_recall(real, far).precision == 0.0);
  // Half of the modes are missing: the generated samples are distributed as half of the real ones and do not cover the other half.
  const Tensor both = [&] {
    Tensor t = Tensor::empty({800, 3});
    t.slice(0, 0, 400).copy_from(real);
    t.slice(0, 400, 800).copy_from(far);
    return t;
  }();
  const PrecisionRecall half = precision_recall(both, random_normal({400, 3}, {1, 2}));
  CHECK(half.precision > 0.9);
  CHECK(half.recall < 0.55);
  CHECK(half.recall > 0.4);
  CHECK_THROWS_AS(precision_recall(real, far.slice(0, 0, 3), 3), ShapeError);
  CHECK_THROWS_AS(precision_recall(real, far, 0), ShapeError);
}
