#include "flowmap/tangent.h"

#include <cmath>

#include "flowmap/path.h"
#include "tensor/error.h"

namespace fm {
namespace {

// |x| of each row. In f64, which can hold squares of f32 numbers: a norm that overflowed would silently make the correction 0.
Tensor row_norms(const Tensor& x) { return sqrt(row_sums(square(x.to(DType::f64)))).to(x.dtype()); }

// Sets the rows that are not finite, and their weights, to 0.
void mask_rows(GuardedTangent& g, std::int64_t rows) {
  const DType type = g.dudt.dtype();
  // x - x is 0 for every finite number, else NaN, and a NaN equals no number.
  const Tensor keep = equal(row_sums(g.dudt - g.dudt), Tensor::scalar(0, type));
  g.masked_share = mean(1.0 - keep);
  g.dudt = where(column(keep, g.dudt.rank()), g.dudt, Tensor::scalar(0, type));
  const std::int64_t others = rows - keep.dim(0);
  g.weight = others > 0 ? concat(std::vector<Tensor>{keep, Tensor::ones({others}, type)}, 0) : keep;
}

}  // namespace

Ramp TangentPolicy::schedule() const {
  if (warmup_over <= 0) return Ramp(warmup);
  Ramp rising("linear", 0, warmup);
  rising.end = warmup_over;
  return rising;
}

GuardedTangent guard(const Tensor& dudt, std::int64_t rows, const TangentPolicy& policy, const Tensor& warmup) {
  GuardedTangent g{dudt, {}, 0, 0};
  if (!dudt.defined()) return g;
  if (policy.mask) mask_rows(g, rows);
  if (policy.clamp > 0) {
    g.clamped_share = mean(greater(abs(g.dudt), Tensor::scalar(policy.clamp, dudt.dtype())));
    g.dudt = clamp(g.dudt, -policy.clamp, policy.clamp);
  }
  if (policy.warmup_over > 0) {
    if (!warmup.defined()) throw Error("tangent.warmup rises during a training, but its value at this step is missing");
    g.dudt = column(first_rows(warmup, dudt.dim(0)), dudt.rank()) * g.dudt;
  } else if (policy.warmup != 1) {
    g.dudt = g.dudt * policy.warmup;
  }
  return g;
}

Tensor normalised(const Tensor& g, double c, const std::string& norm) {
  if (norm != "row" && norm != "rms") throw ConfigError("there is no tangent norm '" + norm + "': known are row and rms");
  const double elements = static_cast<double>(g.numel()) / static_cast<double>(g.dim(0));
  const Tensor length = norm == "rms" ? row_norms(g) / std::sqrt(elements) : row_norms(g);
  return g / column(length + c, g.rank());
}

Tensor guarded_correction(const Tensor& g, const TangentPolicy& policy) {
  const Tensor cut = policy.clamp_residual > 0 ? clamp(g, -policy.clamp_residual, policy.clamp_residual) : g;
  return policy.normalise > 0 ? normalised(cut, policy.normalise, policy.norm) : cut;
}

Tensor guarded_target(const Tensor& target, const Tensor& u, const TangentPolicy& policy) {
  if (policy.clamp_residual <= 0 && policy.normalise <= 0) return target;
  return u + guarded_correction(target - u, policy);
}

Tensor derivative_ratio(const Tensor& dudt, const Tensor& u) {
  // Norms are computed in dudt's own type, to save memory. A norm that overflows is reported as infinite.
  const Tensor norm_u = sqrt(row_sums(square(first_rows(u, dudt.dim(0)))));
  return sqrt(row_sums(square(dudt))) / maximum(norm_u, Tensor::scalar(1e-12, u.dtype()));
}

}  // namespace fm
