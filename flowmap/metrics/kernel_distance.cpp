#include "flowmap/metrics/kernel_distance.h"

#include <algorithm>
#include <string>
#include <vector>

#include "flowmap/metrics/frechet.h"
#include "flowmap/metrics/numpy_random.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/ops/index.h"
#include "tensor/ops/matmul.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

constexpr std::int64_t kernel_rows = 512;  // rows of products at a time

// Sum of (x.y / width + 1)^3 over m products x.y, without number `skipped` (-1: none).
template <class T>
double sum_of_kernel(const T* products, std::int64_t m, double width, std::int64_t skipped) {
  double sum = 0;
  for (std::int64_t j = 0; j < m; ++j) {
    const double k = static_cast<double>(products[j]) / width + 1;
    if (j != skipped) sum += k * k * k;
  }
  return sum;
}

// The mean of k(x_i, y_j) over all pairs, or with `other` over the pairs with i != j.
double mean_kernel(const Tensor& x, const Tensor& y, bool other) {
  const std::int64_t n = x.dim(0), m = y.dim(0);
  const double width = static_cast<double>(x.dim(1));
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += kernel_rows) {
    check_interrupt();
    const std::int64_t end = std::min(n, begin + kernel_rows);
    const Tensor products = matmul(x.slice(0, begin, end), y.transpose(0, 1)).to(Device{}).contiguous();
    std::vector<double> sums(static_cast<std::size_t>(end - begin));
    parallel_for(end - begin, m * 4, [&](std::int64_t r) {
      const std::int64_t skipped = other ? begin + r : -1;
      sums[static_cast<std::size_t>(r)] = products.dtype() == DType::f64 ? sum_of_kernel(products.data<double>() + r * m, m, width, skipped)
                                                                         : sum_of_kernel(products.data<float>() + r * m, m, width, skipped);
    });
    for (const double s : sums) total += s;
  }
  return total / (static_cast<double>(n) * static_cast<double>(other ? m - 1 : m));
}

double kernel_distance_of(const Tensor& x, const Tensor& y) {
  return mean_kernel(x, x, true) + mean_kernel(y, y, true) - 2 * mean_kernel(x, y, false);
}

void refuse_unusable(const char* metric, const Tensor& x, const Tensor& y, std::int64_t rows) {
  if (x.rank() != 2 || y.rank() != 2 || x.dim(0) < rows || y.dim(0) < rows || x.dim(1) != y.dim(1) || x.dim(1) == 0)
    throw ShapeError(std::string(metric) + ": features " + to_string(x.shape()) + " and " + to_string(y.shape()) + ": each set needs " +
                     std::to_string(rows) + " rows or more, and all rows must have the same width");
  for (const auto& [set, which] : {std::pair{&x, "x"}, {&y, "y"}})
    if (const std::int64_t row = first_row_not_finite(*set); row >= 0)
      throw Error(std::string(metric) + ": row " + std::to_string(row) + " of " + which + " is not finite");
}

DType type_of_products(const Tensor& x, const Tensor& y) {
  return x.dtype() == DType::f64 || y.dtype() == DType::f64 ? DType::f64 : DType::f32;
}

Tensor chosen_rows(const Tensor& x, const std::vector<std::int64_t>& rows) {
  return gather(x, Tensor::from(rows, {static_cast<std::int64_t>(rows.size())}).to(x.device()));
}

}  // namespace

double kernel_distance(const Tensor& x, const Tensor& y) {
  refuse_unusable("kernel_distance", x, y, 2);
  const DType type = type_of_products(x, y);
  return kernel_distance_of(x.to(type), y.to(type));
}

Spread kernel_distance_of_subsets(const Tensor& x, const Tensor& y, const KernelSubsets& subsets) {
  if (subsets.subsets < 1 || subsets.rows < 2)
    throw ConfigError("kernel_distance_of_subsets: " + std::to_string(subsets.subsets) + " subsets of " + std::to_string(subsets.rows) +
                      " rows: at least 1 subset of 2 rows is needed");
  refuse_unusable("kernel_distance_of_subsets", x, y, subsets.rows);
  const DType type = type_of_products(x, y);
  const Tensor a = x.to(type), b = y.to(type);
  NumpyRandom random(subsets.seed);
  std::vector<double> distances;
  for (std::int64_t i = 0; i < subsets.subsets; ++i) {
    const std::vector<std::int64_t> of_x = random.choice(a.dim(0), subsets.rows), of_y = random.choice(b.dim(0), subsets.rows);
    distances.push_back(kernel_distance_of(chosen_rows(a, of_x), chosen_rows(b, of_y)));
  }
  return spread_of(distances);
}

}  // namespace fm
