#include "flowmap/metrics/frechet.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/error.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/reduce.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

// One Jacobi rotation in the plane (p, q) that makes a[p, q] zero (Golub & Van Loan, section 8.5.2).
void rotate(double* a, double* v, std::int64_t n, std::int64_t p, std::int64_t q) {
  const double apq = a[p * n + q];
  if (apq == 0) return;
  const double tau = (a[q * n + q] - a[p * n + p]) / (2 * apq);
  const double t = (tau >= 0 ? 1 : -1) / (std::abs(tau) + std::sqrt(1 + tau * tau));
  const double c = 1 / std::sqrt(1 + t * t), s = t * c;
  for (std::int64_t k = 0; k < n; ++k) {
    const double x = a[k * n + p], y = a[k * n + q];
    a[k * n + p] = c * x - s * y;
    a[k * n + q] = s * x + c * y;
  }
  for (std::int64_t k = 0; k < n; ++k) {
    const double x = a[p * n + k], y = a[q * n + k];
    a[p * n + k] = c * x - s * y;
    a[q * n + k] = s * x + c * y;
  }
  for (std::int64_t k = 0; k < n; ++k) {           // v holds eigenvectors in rows here
    const double x = v[p * n + k], y = v[q * n + k];
    v[p * n + k] = c * x - s * y;
    v[q * n + k] = s * x + c * y;
  }
}

double off_diagonal(const double* a, std::int64_t n) {
  double s = 0;
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) s += i == j ? 0 : a[i * n + j] * a[i * n + j];
  return s;
}

// The symmetric square root of a positive semidefinite matrix; rounding below zero counts as zero.
Tensor square_root(const Tensor& matrix) {
  const Eigen e = symmetric_eigen(matrix);
  const Tensor roots = sqrt(maximum(e.values, Tensor::scalar(0, DType::f64, e.values.device())));
  return matmul(e.vectors * roots, e.vectors.transpose(0, 1));
}

double trace(const Tensor& m) {
  const Tensor here = m.to(Device{});
  double s = 0;
  for (std::int64_t i = 0; i < m.dim(0); ++i) s += here.data<double>()[i * m.dim(0) + i];
  return s;
}

}  // namespace

Eigen symmetric_eigen(const Tensor& matrix) {
  if (matrix.rank() != 2 || matrix.dim(0) != matrix.dim(1)) throw ShapeError("symmetric_eigen: wants a square matrix, got " + to_string(matrix.shape()));
  const std::int64_t n = matrix.dim(0);
  const Tensor work = matrix.to(DType::f64).to(Device{}).clone(), rows = Tensor::zeros({n, n}, DType::f64, Device{});
  double *a = work.data<double>(), *v = rows.data<double>();
  for (std::int64_t i = 0; i < n; ++i) v[i * n + i] = 1;
  const double scale = sum_squares(work);
  for (int sweep = 0; sweep < 60 && off_diagonal(a, n) > 1e-26 * scale; ++sweep)
    for (std::int64_t p = 0; p < n; ++p)
      for (std::int64_t q = p + 1; q < n; ++q) rotate(a, v, n, p, q);
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int64_t i, std::int64_t j) { return a[i * n + i] < a[j * n + j]; });
  Eigen out{Tensor::empty({n}, DType::f64, Device{}), Tensor::empty({n, n}, DType::f64, Device{})};
  for (std::int64_t j = 0; j < n; ++j) {
    const std::int64_t from = order[static_cast<std::size_t>(j)];
    out.values.data<double>()[j] = a[from * n + from];
    for (std::int64_t i = 0; i < n; ++i) out.vectors.data<double>()[i * n + j] = v[from * n + i];
  }
  return out;
}

GaussianFit fit_gaussian(const Tensor& features) {
  if (features.rank() != 2 || features.dim(0) < 2) throw ShapeError("fit_gaussian: wants (n >= 2, D) features, got " + to_string(features.shape()));
  const Tensor x = features.to(DType::f64);
  const Tensor m = mean(x, {0});
  const Tensor centred = x - m;
  const Tensor covariance = matmul(centred.transpose(0, 1), centred) / static_cast<double>(x.dim(0) - 1);
  return {m.to(Device{}), covariance.to(Device{}), x.dim(0)};
}

double frechet_distance(const GaussianFit& a, const GaussianFit& b) {
  if (a.mean.shape() != b.mean.shape()) throw ShapeError("frechet_distance: features of " + to_string(a.mean.shape()) + " and " + to_string(b.mean.shape()));
  // tr (S1 S2)^(1/2) = tr (R S2 R)^(1/2) with R = S1^(1/2): symmetric, so no complex parts arise.
  const Tensor root = square_root(a.covariance);
  const Tensor inner = matmul(matmul(root, b.covariance), root);
  const Eigen e = symmetric_eigen((inner + inner.transpose(0, 1)) * 0.5);
  double cross = 0;
  for (double value : e.values.to_vector<double>()) cross += std::sqrt(std::max(value, 0.0));
  return sum_squares(a.mean - b.mean) + trace(a.covariance) + trace(b.covariance) - 2 * cross;
}

namespace {

// Squared distances (n, m) between the rows of x (n, D) and y (m, D)
Tensor distances(const Tensor& x, const Tensor& y) {
  const Tensor xx = sum(square(x), {1}, true), yy = sum(square(y), {1});
  return maximum(xx + yy - 2.0 * matmul(x, y.transpose(0, 1)), Tensor::scalar(0, x.dtype(), x.device())).to(Device{});
}

// Squared radius of each row's ball: the distance to its k-th nearest other row.
std::vector<float> radii(const Tensor& x, int k) {
  std::vector<float> out(static_cast<std::size_t>(x.dim(0)));
  constexpr std::int64_t block = 512;
  for (std::int64_t i = 0; i < x.dim(0); i += block) {
    const Tensor d = distances(x.slice(0, i, std::min(x.dim(0), i + block)), x);
    parallel_for(d.dim(0), d.dim(1) * 4, [&](std::int64_t r) {
      float* row = d.data<float>() + r * d.dim(1);
      std::nth_element(row, row + k, row + d.dim(1));      // the row itself is at distance 0
      out[static_cast<std::size_t>(i + r)] = row[k];
    });
  }
  return out;
}

// The share of rows of `points` that lie in the ball of some row of `centres`.
double covered(const Tensor& points, const Tensor& centres, const std::vector<float>& radius) {
  std::int64_t inside = 0;
  constexpr std::int64_t block = 512;
  for (std::int64_t i = 0; i < points.dim(0); i += block) {
    const Tensor d = distances(points.slice(0, i, std::min(points.dim(0), i + block)), centres);
    for (std::int64_t r = 0; r < d.dim(0); ++r) {
      const float* row = d.data<float>() + r * d.dim(1);
      bool any = false;
      for (std::int64_t j = 0; j < d.dim(1) && !any; ++j) any = row[j] <= radius[static_cast<std::size_t>(j)];
      inside += any;
    }
  }
  return static_cast<double>(inside) / static_cast<double>(points.dim(0));
}

}  // namespace

PrecisionRecall precision_recall(const Tensor& real, const Tensor& generated, int k) {
  if (real.rank() != 2 || generated.rank() != 2 || real.dim(1) != generated.dim(1) || real.dim(0) <= k || generated.dim(0) <= k)
    throw ShapeError("precision_recall: real " + to_string(real.shape()) + ", generated " + to_string(generated.shape()) + ", k " + std::to_string(k));
  const Tensor x = real.to(DType::f32).contiguous(), y = generated.to(DType::f32).contiguous();
  return {covered(y, x, radii(x, k)), covered(x, y, radii(y, k))};
}

}  // namespace fm
