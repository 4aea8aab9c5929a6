#include "flowmap/metrics/frechet_reference.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "flowmap/metrics/factor.h"
#include "flowmap/metrics/numpy_random.h"
#include "flowmap/metrics/spread.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/index.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/reduce.h"

namespace fm {
namespace {

double trace(const Tensor& m) {
  double s = 0;
  for (std::int64_t i = 0; i < m.dim(0); ++i) s += m.data<double>()[i * m.dim(0) + i];
  return s;
}

double trace_of_root(const Tensor& factor, const Tensor& other) {
  double s = 0;
  for (const double value : singular_values(matmul(factor, other.transpose(0, 1)))) s += value;
  return s;
}

void check_widths(const Shape& a, const Shape& b) {
  if (a != b) throw ShapeError("frechet_distance: features have different widths, " + to_string(a) + " and " + to_string(b));
}

void check_rows(const char* metric, const Tensor& features, std::int64_t least) {
  if (features.rank() != 2 || features.dim(0) < least)
    throw ShapeError(std::string(metric) + ": needs features (n, D) with n >= " + std::to_string(least) + ", got " +
                     to_string(features.shape()));
  if (const std::int64_t row = first_row_not_finite(features); row >= 0)
    throw Error(std::string(metric) + ": the features of sample " + std::to_string(row) + " are not finite");
}

double distance_of_random_rows(const Tensor& features, std::int64_t count, NumpyRandom& random, const FrechetReference& reference) {
  check_interrupt();
  const Tensor rows = Tensor::from(random.choice(features.dim(0), count), {count});
  return reference.distance(gather(features, rows.to(features.device())));
}

// Least squares of distance = value + slope / count.
void fit_line(FrechetLimit& limit) {
  const auto n = static_cast<double>(limit.points.size());
  double x_mean = 0, y_mean = 0, xx = 0, xy = 0;
  for (const auto& [count, distance] : limit.points) x_mean += 1 / static_cast<double>(count) / n, y_mean += distance / n;
  for (const auto& [count, distance] : limit.points) {
    const double x = 1 / static_cast<double>(count) - x_mean;
    xx += x * x, xy += x * (distance - y_mean);
  }
  limit.slope = xy / xx;
  limit.value = y_mean - limit.slope * x_mean;
}

}  // namespace

FrechetReference::FrechetReference(const GaussianFit& fit)
    : mean_(fit.mean), trace_(trace(fit.covariance)), factor_(semidefinite_factor(fit.covariance)) {}

double FrechetReference::distance(const GaussianFit& other) const {
  check_widths(mean_.shape(), other.mean.shape());
  return sum_squares(mean_ - other.mean) + trace_ + trace(other.covariance) -
         2 * trace_of_root(factor_, semidefinite_factor(other.covariance));
}

double FrechetReference::distance(const Tensor& features) const {
  check_rows("frechet_distance", features, 2);
  check_widths(mean_.shape(), {features.dim(1)});
  const std::int64_t n = features.dim(0);
  if (n > width()) return distance(fit_gaussian(features));
  const Tensor rows = features.to(Device{}).to(DType::f64), mean = mean_of_rows(rows);
  const Tensor factor = (rows - mean) / std::sqrt(static_cast<double>(n - 1));
  return sum_squares(mean_ - mean) + trace_ + sum_squares(factor) - 2 * trace_of_root(factor_, factor);
}

std::int64_t smallest_of_limit(std::int64_t n) { return std::min<std::int64_t>(5000, std::max<std::int64_t>(2, n / 10)); }

FrechetLimit frechet_infinity(const Tensor& generated, const FrechetReference& reference, std::uint32_t seed, int sizes) {
  if (sizes < 2) throw ConfigError("frechet_infinity: a line needs at least 2 sizes, not " + std::to_string(sizes));
  check_rows("frechet_infinity", generated, 20);
  const std::int64_t n = generated.dim(0), first = smallest_of_limit(n);
  NumpyRandom random(seed);
  FrechetLimit limit;
  for (int i = 0; i < sizes; ++i) {
    const std::int64_t count = first + (n - first) * i / (sizes - 1);
    limit.points.push_back({count, distance_of_random_rows(generated, count, random, reference)});
  }
  fit_line(limit);
  return limit;
}

FrechetError frechet_error(const Tensor& generated, const FrechetReference& reference, int halves, std::uint32_t seed) {
  if (halves < 2) throw ConfigError("frechet_error: a deviation needs at least 2 halves, not " + std::to_string(halves));
  check_rows("frechet_error", generated, 4);
  const std::int64_t n = generated.dim(0), half = n / 2;
  NumpyRandom random(seed);
  std::vector<double> distances;
  for (int i = 0; i < halves; ++i) distances.push_back(distance_of_random_rows(generated, half, random, reference));
  const Spread of_halves = spread_of(distances, 1);
  return {.deviation = of_halves.deviation * std::sqrt(static_cast<double>(half) / static_cast<double>(n - half)), .mean_of_halves = of_halves.mean, .halves = halves};
}

}  // namespace fm
