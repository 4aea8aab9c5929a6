#include "flowmap/metrics/energy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "flowmap/metrics/frechet.h"
#include "tensor/error.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

constexpr std::int64_t points_together = 256;      // points whose distances to one point are computed together

// Points as f64 in blocks. A block stores each coordinate of all its points contiguously, so that loops over points vectorize. The last block is
// padded with zeros.
class Blocks {
 public:
  explicit Blocks(const Tensor& x) : count_(x.dim(0)), width_(x.numel() / x.dim(0)), values_(static_cast<std::size_t>(blocks() * points_together * width_)) {
    const Tensor rows = x.to(Device{}).to(DType::f64).contiguous();
    const double* from = rows.data<double>();
    parallel_for(count_, width_, [&](std::int64_t i) {
      for (std::int64_t d = 0; d < width_; ++d) values_[static_cast<std::size_t>(place(i) + d * points_together)] = from[i * width_ + d];
    });
  }
  std::int64_t count() const { return count_; }
  std::int64_t width() const { return width_; }
  std::int64_t blocks() const { return (count_ + points_together - 1) / points_together; }
  double at(std::int64_t i, std::int64_t d) const { return values_[static_cast<std::size_t>(place(i) + d * points_together)]; }
  const double* of_block(std::int64_t b) const { return values_.data() + b * points_together * width_; }

 private:
  std::int64_t place(std::int64_t i) const { return i / points_together * points_together * width_ + i % points_together; }
  std::int64_t count_, width_;
  std::vector<double> values_;
};

// Returns the sum of |x_i - y_j| over the points j >= from of block b of y.
double distances_to(const Blocks& x, std::int64_t i, const Blocks& y, std::int64_t b, std::int64_t from) {
  std::array<double, points_together> squares{};
  const double* others = y.of_block(b);
  for (std::int64_t d = 0; d < x.width(); ++d) {
    const double value = x.at(i, d);
    const double* coordinate = others + d * points_together;
#pragma omp simd
    for (std::int64_t j = 0; j < points_together; ++j) squares[static_cast<std::size_t>(j)] += (value - coordinate[j]) * (value - coordinate[j]);
  }
  const std::int64_t first = std::max<std::int64_t>(0, from - b * points_together), last = std::min(points_together, y.count() - b * points_together);
#pragma omp simd
  for (std::int64_t j = 0; j < points_together; ++j) squares[static_cast<std::size_t>(j)] = std::sqrt(squares[static_cast<std::size_t>(j)]);
  double total = 0;
  for (std::int64_t j = first; j < last; ++j) total += squares[static_cast<std::size_t>(j)];
  return total;
}

// Computes of_row(i) for all rows in parallel, then sums the results in order.
template <class F> double sum_over_rows(std::int64_t rows, std::int64_t cost, const F& of_row) {
  std::vector<double> sums(static_cast<std::size_t>(rows));
  parallel_for(rows, cost, [&](std::int64_t i) { sums[static_cast<std::size_t>(i)] = of_row(i); });
  double total = 0;
  for (const double s : sums) total += s;
  return total;
}

double mean_between(const Blocks& x, const Blocks& y) {
  const double total = sum_over_rows(x.count(), y.count() * (x.width() + 8), [&](std::int64_t i) {
    double row = 0;
    for (std::int64_t b = 0; b < y.blocks(); ++b) row += distances_to(x, i, y, b, 0);
    return row;
  });
  return total / (static_cast<double>(x.count()) * static_cast<double>(y.count()));
}

// Mean over all pairs of different points: sums the pairs i < j and doubles the sum. Rows i and n-1-i form one task, so that all tasks are equally long.
double mean_within(const Blocks& x) {
  const std::int64_t n = x.count();
  const auto after = [&](std::int64_t i) {
    double row = 0;
    for (std::int64_t b = (i + 1) / points_together; b < x.blocks(); ++b) row += distances_to(x, i, x, b, i + 1);
    return row;
  };
  const double total = sum_over_rows((n + 1) / 2, n * (x.width() + 8), [&](std::int64_t i) { return i == n - 1 - i ? after(i) : after(i) + after(n - 1 - i); });
  return 2 * total / (static_cast<double>(n) * static_cast<double>(n - 1));
}

void refuse_not_finite(const Tensor& x, const char* which) {
  if (const std::int64_t row = first_row_not_finite(x); row >= 0)
    throw Error("energy_distance: row " + std::to_string(row) + " of " + which + " is not finite");
}

}  // namespace

double energy_distance(const Tensor& x, const Tensor& y) {
  if (x.rank() < 2 || y.rank() < 2 || x.dim(0) < 2 || y.dim(0) < 2 || x.numel() / x.dim(0) != y.numel() / y.dim(0))
    throw ShapeError("energy_distance: points " + to_string(x.shape()) + " and " + to_string(y.shape()) + ": each set needs 2 rows or more, and all rows must have the same size");
  refuse_not_finite(x, "x");
  refuse_not_finite(y, "y");
  const Blocks a(x), b(y);
  return 2 * mean_between(a, b) - mean_within(a) - mean_within(b);
}

double mean_square_distance(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.rank() < 1 || a.numel() == 0)
    throw ShapeError("mean_square_distance: points " + to_string(a.shape()) + " and " + to_string(b.shape()) + ": shapes must be equal, with at least one row");
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  double total = 0;
  for (std::size_t i = 0; i < x.size(); ++i) total += (x[i] - y[i]) * (x[i] - y[i]);
  return total / static_cast<double>(a.dim(0));
}

}  // namespace fm
