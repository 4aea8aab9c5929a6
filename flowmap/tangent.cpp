#include "flowmap/tangent.h"

#include "flowmap/path.h"

namespace fm {
namespace {

// |x| of each row. In f64, where squares of f32 numbers have room: a norm that overflowed would make the correction 0 without a word.
Tensor row_norms(const Tensor& x) { return sqrt(row_sums(square(x.to(DType::f64)))).to(x.dtype()); }

// Zeroes rows that are not finite and their weights.
void mask_rows(GuardedTangent& g, std::int64_t rows) {
  const DType type = g.dudt.dtype();
  // x - x is 0 of every finite number, else NaN, and a NaN equals nothing.
  const Tensor keep = equal(row_sums(g.dudt - g.dudt), Tensor::scalar(0, type));
  g.masked_rows = sum(1.0 - keep);
  g.dudt = where(column(keep, g.dudt.rank()), g.dudt, Tensor::scalar(0, type));
  const std::int64_t others = rows - keep.dim(0);
  g.weight = others > 0 ? concat(std::vector<Tensor>{keep, Tensor::ones({others}, type)}, 0) : keep;
}

}  // namespace

GuardedTangent guard(const Tensor& dudt, std::int64_t rows, const TangentPolicy& policy) {
  GuardedTangent g{dudt, {}, 0, 0};
  if (!dudt.defined()) return g;
  if (policy.mask) mask_rows(g, rows);
  if (policy.clamp > 0) {
    g.clamped_share = mean(greater(abs(g.dudt), Tensor::scalar(policy.clamp, dudt.dtype())));
    g.dudt = clamp(g.dudt, -policy.clamp, policy.clamp);
  }
  if (policy.warmup != 1) g.dudt = g.dudt * policy.warmup;
  return g;
}

Tensor normalised_target(const Tensor& target, const Tensor& u, double c) {
  if (c <= 0) return target;
  const Tensor g = target - u;
  return u + g / column(row_norms(g) + c, g.rank());
}

Tensor derivative_ratio(const Tensor& dudt, const Tensor& u) {
  // In dudt's own type, for the sake of memory: a norm that overflows is told as infinite.
  const Tensor norm_u = sqrt(row_sums(square(first_rows(u, dudt.dim(0)))));
  return sqrt(row_sums(square(dudt))) / maximum(norm_u, Tensor::scalar(1e-12, u.dtype()));
}

}  // namespace fm
