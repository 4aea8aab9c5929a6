#include "flowmap/metrics/kernel_distance.h"

#include <algorithm>
#include <string>
#include <vector>

#include "flowmap/metrics/frechet.h"
#include "tensor/error.h"
#include "tensor/ops/matmul.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

constexpr std::int64_t kernel_rows = 512;      // rows of products at a time

// The mean of k(x_i, y_j) over all pairs, or with `other` over the pairs with i != j.
double mean_kernel(const Tensor& x, const Tensor& y, bool other) {
  const std::int64_t n = x.dim(0), m = y.dim(0);
  const double width = static_cast<double>(x.dim(1));
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += kernel_rows) {
    const std::int64_t end = std::min(n, begin + kernel_rows);
    const Tensor products = matmul(x.slice(0, begin, end), y.transpose(0, 1)).to(Device{}).contiguous();
    std::vector<double> sums(static_cast<std::size_t>(end - begin));
    parallel_for(end - begin, m * 4, [&](std::int64_t r) {
      const float* row = products.data<float>() + r * m;
      double sum = 0;
      for (std::int64_t j = 0; j < m; ++j) {
        const double k = static_cast<double>(row[j]) / width + 1;
        if (!other || j != begin + r) sum += k * k * k;
      }
      sums[static_cast<std::size_t>(r)] = sum;
    });
    for (const double s : sums) total += s;
  }
  return total / (static_cast<double>(n) * static_cast<double>(other ? m - 1 : m));
}

void refuse_unusable(const Tensor& x, const char* which) {
  if (const std::int64_t row = first_row_not_finite(x); row >= 0)
    throw Error("kernel_distance: row " + std::to_string(row) + " of " + which + " is not finite");
}

}  // namespace

double kernel_distance(const Tensor& x, const Tensor& y) {
  if (x.rank() != 2 || y.rank() != 2 || x.dim(0) < 2 || y.dim(0) < 2 || x.dim(1) != y.dim(1))
    throw ShapeError("kernel_distance: features " + to_string(x.shape()) + " and " + to_string(y.shape()) + ": each set needs 2 rows or more, and all rows must have the same width");
  refuse_unusable(x, "x");
  refuse_unusable(y, "y");
  return mean_kernel(x, x, true) + mean_kernel(y, y, true) - 2 * mean_kernel(x, y, false);
}

}  // namespace fm
