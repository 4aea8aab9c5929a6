#include "flowmap/metrics/frechet.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "flowmap/metrics/frechet_reference.h"
#include "tensor/error.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/reduce.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

// Calls f with all rows in f64, in blocks of up to 4096 rows.
constexpr std::int64_t rows_at_a_time = 4096;
template <class F>
void for_row_blocks(const Tensor& x, const F& f) {
  for (std::int64_t i = 0; i < x.dim(0); i += rows_at_a_time) f(x.slice(0, i, std::min(x.dim(0), i + rows_at_a_time)).to(DType::f64));
}

// Returns the sum of (x_i - m)(x_i - m)^T. Computes the blocks on and above the diagonal, and mirrors them.
Tensor scatter(const Tensor& x, const Tensor& m) {
  constexpr std::int64_t width = 256;
  const std::int64_t n = x.dim(1), blocks = (n + width - 1) / width;
  const auto columns = [&](const Tensor& rows, std::int64_t b) { return rows.slice(1, b * width, std::min(n, (b + 1) * width)); };
  std::vector<Tensor> sums;
  for (std::int64_t a = 0; a < blocks; ++a)
    sums.push_back(Tensor::zeros({std::min(n, (a + 1) * width) - a * width, n - a * width}, DType::f64, x.device()));
  for_row_blocks(x, [&](const Tensor& rows) {
    const Tensor centred = rows - m;
    for (std::int64_t a = 0; a < blocks; ++a)
      matmul_into(sums[static_cast<std::size_t>(a)], columns(centred, a).transpose(0, 1), centred.slice(1, a * width, n));
  });
  const Tensor out = Tensor::empty({n, n}, DType::f64, Device{});
  double* to = out.data<double>();
  for (std::int64_t a = 0; a < blocks; ++a) {
    const Tensor part = sums[static_cast<std::size_t>(a)].to(Device{});
    for (std::int64_t i = 0; i < part.dim(0); ++i)
      for (std::int64_t j = i; j < part.dim(1); ++j) {
        const std::int64_t row = a * width + i, column = a * width + j;
        to[row * n + column] = to[column * n + row] = part.data<double>()[i * part.dim(1) + j];
      }
  }
  return out;
}

}  // namespace

Tensor mean_of_rows(const Tensor& x) {
  Tensor total = Tensor::zeros({x.dim(1)}, DType::f64, x.device());
  for_row_blocks(x, [&](const Tensor& rows) { total = total + sum(rows, {0}); });
  return total / static_cast<double>(x.dim(0));
}

std::int64_t first_row_not_finite(const Tensor& x) {
  if (x.numel() == 0) return -1;
  const Tensor here = x.to(Device{}).to(x.dtype() == DType::f64 ? DType::f64 : DType::f32).contiguous();
  const std::int64_t n = here.dim(0), width = here.numel() / n;
  std::vector<char> bad(static_cast<std::size_t>(n), 0);
  const auto look = [&](const auto* values) {
    parallel_for(n, width, [&](std::int64_t i) {
      bad[static_cast<std::size_t>(i)] =
          !std::all_of(values + i * width, values + (i + 1) * width, [](auto v) { return std::isfinite(v); });
    });
  };
  if (here.dtype() == DType::f64)
    look(here.data<double>());
  else
    look(here.data<float>());
  const auto found = std::find(bad.begin(), bad.end(), 1);
  return found == bad.end() ? -1 : found - bad.begin();
}

GaussianFit fit_gaussian(const Tensor& features) {
  if (features.rank() != 2 || features.dim(0) < 2)
    throw ShapeError("fit_gaussian: needs features (n, D) with n >= 2, got " + to_string(features.shape()));
  if (const std::int64_t row = first_row_not_finite(features); row >= 0)
    throw Error("fit_gaussian: the features of sample " + std::to_string(row) + " are not finite");
  const double scale = 1 / static_cast<double>(features.dim(0) - 1);
  const Tensor m = mean_of_rows(features);
  return {m.to(Device{}), scatter(features, m) * scale, features.dim(0)};
}

double frechet_distance(const GaussianFit& a, const GaussianFit& b) {
  if (a.mean.shape() != b.mean.shape())
    throw ShapeError("frechet_distance: features have different widths, " + to_string(a.mean.shape()) + " and " + to_string(b.mean.shape()));
  return FrechetReference(a).distance(b);
}

}  // namespace fm
