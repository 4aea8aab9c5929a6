// The energy distance against SciPy's distances (tests/golden/energy.py) and against closed forms.
#include "flowmap/metrics/energy.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "tensor/error.h"
#include "tensor/ops/elementwise.h"
#include "tensor/random/fill.h"
#include "tests/support/golden.h"
#include "tests/support/near.h"

using namespace fm;
using test::near;
using test::near_within;
using test::near_zero;

namespace {

Tensor points(const std::string& key, std::int64_t n, std::int64_t d, double shift, double spread) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < n * d; ++i) values.push_back(static_cast<float>(shift + spread * test::named_number(key, i)));
  return Tensor::from(values, {n, d});
}

double golden(const std::string& name) {
  std::ifstream in(FM_TESTS_FOLDER "/golden/energy.txt");
  for (std::string key; in >> key;) {
    double value;
    in >> value;
    if (key == name) return value;
  }
  throw Error("no golden number " + name);
}

Tensor line(const std::vector<double>& x) { return Tensor::from(x, {static_cast<std::int64_t>(x.size()), 1}); }

}  // namespace

TEST_CASE("energy distances agree with SciPy, for sets smaller and larger than a block") {
  for (const auto& [n, m, d] : {std::tuple{2, 3, 1}, {255, 257, 2}, {600, 512, 2}, {300, 290, 3}, {70, 40, 130}}) {
    const std::string name = std::to_string(n) + "_" + std::to_string(m) + "_" + std::to_string(d);
    CAPTURE(name);
    const Tensor x = points("energy.x", n, d, 0, 1), y = points("energy.y", m, d, 0.1, 1.2);
    CHECK(near(energy_distance(x, y), golden(name), 1e-11));
    CHECK(near(energy_distance(y, x), golden(name), 1e-11));
    CHECK(near(energy_distance(x.to(DType::f64), y.reshape({m, 1, d})), golden(name), 1e-11));
  }
  CHECK(near(energy_distance(points("energy.x", 300, 2, 1000, 1), points("energy.y", 300, 2, 1000.1, 1.2)), golden("far"), 1e-9));
}

TEST_CASE("energy distances of a few points agree with values computed by hand") {
  CHECK(near(energy_distance(line({0, 0, 0}), line({2, 2})), 4, 1e-15));                 // 2 * 2
  CHECK(near(energy_distance(line({0, 1}), line({0, 1})), -1, 1e-15));                   // 2 * 1/2 - 1 - 1: no point is paired with itself
  CHECK(near(energy_distance(line({0, 1}), line({3, 7})), 4, 1e-15));                    // 2 * 4.5 - 1 - 4
  const Tensor square = Tensor::from<double>({0, 0, 3, 4}, {2, 2}), at = Tensor::from<double>({0, 0, 0, 0}, {2, 2});
  CHECK(near_zero(energy_distance(square, at), 1e-15));                                  // 2 * 5/2 - 5 - 0
}

// E|N(m, 2 s^2)| = 2 s / sqrt(pi) exp(-m^2 / (4 s^2)) + m erf(m / (2 s))
TEST_CASE("the energy distance of normal distributions on the line has its closed form, and is 0 for two samples of one") {
  const std::int64_t n = 6000;
  const auto normal = [&](std::uint32_t stream) { return random_normal({n, 1}, {3, stream}, 0, DType::f64); };
  const auto between = [](double m, double s) { return 2 * s / std::sqrt(M_PI) * std::exp(-m * m / (4 * s * s)) + m * std::erf(m / (2 * s)); };
  const double shifted = 2 * between(0.5, 1) - 2 * between(0, 1);
  CHECK(near(energy_distance(normal(1), normal(2) + 0.5), shifted, 0.1));
  const double wider = 2 * between(0, std::sqrt((1 + 2.25) / 2)) - between(0, 1) - between(0, 1.5);
  CHECK(near(energy_distance(normal(1), normal(2) * 1.5), wider, 0.1));
  CHECK(near_zero(energy_distance(normal(1), normal(2)), 1.5e-3));
}

TEST_CASE("energy distances have the same bits for any number of threads") {
  const Tensor x = points("energy.x", 900, 2, 0, 1), y = points("energy.y", 700, 2, 0.1, 1.2);
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  const double one = energy_distance(x, y);
  omp_set_num_threads(3);
  CHECK(energy_distance(x, y) == one);
  omp_set_num_threads(before);
}

TEST_CASE("energy_distance refuses sets that it cannot compare") {
  const Tensor x = Tensor::zeros({4, 2});
  CHECK_THROWS_WITH_AS(energy_distance(x, Tensor::zeros({4, 3})),
                       "energy_distance: points [4, 2] and [4, 3]: each set needs 2 rows or more, and all rows must have the same size", ShapeError);
  CHECK_THROWS_AS(energy_distance(x, Tensor::zeros({1, 2})), ShapeError);
  CHECK_THROWS_AS(energy_distance(x, Tensor::zeros({4})), ShapeError);
  const Tensor bad = Tensor::zeros({4, 2});
  bad.data<float>()[5] = std::nanf("");
  CHECK_THROWS_WITH_AS(energy_distance(x, bad), "energy_distance: row 2 of y is not finite", Error);
  CHECK_THROWS_WITH_AS(energy_distance(bad, x), "energy_distance: row 2 of x is not finite", Error);
}

TEST_CASE("mean_square_distance is the mean of the squared distances of rows") {
  const Tensor a = Tensor::from<float>({0, 0, 1, 1}, {2, 2}), b = Tensor::from<double>({3, 4, 1, 2}, {2, 2});
  CHECK(near(mean_square_distance(a, b), 13, 1e-15));                                    // (25 + 1) / 2
  CHECK_THROWS_AS(mean_square_distance(a, Tensor::zeros({2, 3})), ShapeError);
}
