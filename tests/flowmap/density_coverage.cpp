// Density and coverage, and precision and recall with open balls, against NumPy (tests/golden/evaluation_metrics.py).
#include "flowmap/metrics/density_coverage.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>

#include "flowmap/metrics/frechet.h"
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

// Shares of counts, where 0 is a possible value.
void check_share(double value, double wanted) { CHECK(near_zero(value - wanted, 1e-14)); }

}  // namespace

TEST_CASE("density, coverage and open balls agree with NumPy, with ties and for sets larger than a block") {
  const auto golden = golden_rows(FM_TESTS_FOLDER "/golden/evaluation_metrics.txt");
  for (const int k : {1, 3, 5}) {
    const auto agree = [&](const std::string& name, const Tensor& real, const Tensor& generated) {
      CAPTURE(name);
      CAPTURE(k);
      const std::vector<double>& wanted = golden.at("balls_" + name + "_" + std::to_string(k));
      const DensityCoverage dc = density_coverage(real, generated, k);
      check_share(dc.density, wanted[2]);
      check_share(dc.coverage, wanted[3]);
      if (generated.dim(0) <= k) return;
      const PrecisionRecall pr = precision_recall(real, generated, k, Ball::open);
      check_share(pr.precision, wanted[0]);
      check_share(pr.recall, wanted[1]);
    };
    agree("plain", x_table(96), y_table(80));
    agree("ties", whole("ties.x", 90, 2, 0, 5, 0), whole("ties.y", 70, 2, 1, 6, 0));
    agree("blocks", x_table(700, 3), y_table(530, 3));
    agree("few", x_table(96), y_table(2));
  }
}

TEST_CASE("the numbers of prdc, torch-fidelity and guided-diffusion are reproduced") {
  const Tensor x = x_table(96), y = y_table(80);
  const DensityCoverage three = density_coverage(x, y, 3), five = density_coverage(x, y);
  CHECK(near(three.density, 0.329166666667, 1e-11));
  CHECK(near(three.coverage, 0.458333333333, 1e-11));
  CHECK(near(five.density, 0.3525, 1e-14));
  CHECK(near(five.coverage, 0.666666666667, 1e-11));
  CHECK(near(precision_recall(x, y).precision, 0.5375, 1e-14));
  CHECK(near(precision_recall(x, y).recall, 0.979166666667, 1e-11));
  CHECK(near(precision_recall(x, y, 5, Ball::open).precision, 0.7125, 1e-14));
  CHECK(precision_recall(x, y, 5, Ball::open).recall == 1);
}

TEST_CASE("a ball of radius 0 includes its center only if it is closed, and a sample far away has no ball around it") {
  const Tensor one = x_table(1, 5).expand({40, 5}).contiguous();
  CHECK(precision_recall(one, one, 3).precision == 1);
  CHECK(precision_recall(one, one, 3, Ball::open).precision == 0);
  CHECK(density_coverage(one, one, 3).density == 0);
  const Tensor real = random_normal({300, 3}, {1, 1}), far = random_normal({200, 3}, {1, 2}) * 30.0 + 500.0;
  CHECK(density_coverage(real, far, 3).coverage == 0);
  CHECK(near(density_coverage(real, real, 3).coverage, 1, 1e-15));
  CHECK(near(density_coverage(real, random_normal({4000, 3}, {1, 3}), 5).density, 1, 0.1));     // 1 in expectation for equal distributions
  const DensityCoverage usual = density_coverage(real, real * 0.5), huge = density_coverage(real * 0x1p70, real * 0x1p69);
  CHECK(usual.density == huge.density);
  CHECK(usual.coverage == huge.coverage);
}

TEST_CASE("density and coverage are the same for any number of threads") {
  const Tensor x = x_table(700, 9), y = y_table(900, 9);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const DensityCoverage one = density_coverage(x, y);
  omp_set_num_threads(2);
  CHECK(density_coverage(x, y).density == one.density);
  CHECK(density_coverage(x, y).coverage == one.coverage);
  omp_set_num_threads(threads);
}

TEST_CASE("density_coverage refuses sets without neighbors and rows that are not finite") {
  const Tensor x = x_table(6, 3), y = y_table(4, 3);
  CHECK(has(error_of<ShapeError>([&] { density_coverage(x, y_table(4, 2), 2); }), "density_coverage: real [6, 3], generated [4, 2], k 2"));
  CHECK_THROWS_AS(density_coverage(x, y, 6), ShapeError);
  CHECK_NOTHROW(density_coverage(x, y, 5));
  CHECK_THROWS_AS(density_coverage(x, y, 0), ShapeError);
  CHECK_THROWS_AS(density_coverage(x, Tensor::zeros({0, 3}), 2), ShapeError);
  CHECK(has(error_of([&] { density_coverage(with_number(x, 4, NAN), y, 2); }), "density_coverage: the features of real sample 4 are not finite"));
  CHECK(has(error_of([&] { density_coverage(x, with_number(y, 3, INFINITY), 2); }), "of generated sample 3 are not finite"));
}
