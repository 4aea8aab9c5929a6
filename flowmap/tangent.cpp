#include "flowmap/tangent.h"

#include <cmath>

#include "flowmap/path.h"

namespace fm {
namespace {

// Zeroes rows that are not finite and their weights.
void mask_rows(GuardedTangent& g, std::int64_t rows) {
  std::vector<double> keep;
  // A sum of squares is finite only if every element is (elements beyond 1e19 in f32 are left out too).
  for (double x : row_sums(square(g.dudt)).to_vector<double>()) keep.push_back(std::isfinite(x));
  for (double k : keep) g.masked_rows += k == 0;
  if (g.masked_rows == 0) return;
  const Tensor mask = column(Tensor::from(keep, {g.dudt.dim(0)}).to(g.dudt.dtype()), g.dudt.rank());
  g.dudt = where(mask, g.dudt, Tensor::scalar(0, g.dudt.dtype()));
  keep.resize(static_cast<std::size_t>(rows), 1);
  g.weight = Tensor::from(keep, {rows}).to(g.dudt.dtype());
}

}  // namespace

GuardedTangent guard(const Tensor& dudt, std::int64_t rows, const TangentPolicy& policy) {
  GuardedTangent g{dudt, {}, 0, 0};
  if (!dudt.defined()) return g;
  if (policy.mask) mask_rows(g, rows);
  if (policy.clamp > 0) {
    g.clamped_share = mean(greater(abs(g.dudt), Tensor::scalar(policy.clamp, dudt.dtype()))).item();
    g.dudt = clamp(g.dudt, -policy.clamp, policy.clamp);
  }
  if (policy.warmup != 1) g.dudt = g.dudt * policy.warmup;
  return g;
}

Tensor normalised_target(const Tensor& target, const Tensor& u, double c) {
  if (c <= 0) return target;
  const Tensor g = target - u;
  return u + g / column(sqrt(row_sums(square(g))) + c, g.rank());
}

Tensor derivative_ratio(const Tensor& dudt, const Tensor& u) {
  const Tensor norm_u = sqrt(row_sums(square(first_rows(u, dudt.dim(0)))));
  return sqrt(row_sums(square(dudt))) / maximum(norm_u, Tensor::scalar(1e-12, u.dtype()));
}

}  // namespace fm
