#include "flowmap/objective/entry.h"

#include <fmt/format.h>

#include <algorithm>

#include "tensor/error.h"

namespace fm {

const Tensor& Drawn::operator[](std::string_view wanted) const {
  const auto it = std::find_if(numbers.begin(), numbers.end(), [&](const auto& entry) { return entry.first == wanted; });
  if (it == numbers.end()) throw Error("an objective needs '" + std::string(wanted) + "', which its draw() did not make");
  return it->second;
}

Claims claims_under(const MetricConfig& metric, double normalise) {
  if (metric.kind != "l2") return {.unbiased = false, .why = "the " + metric.kind + " metric weighs a residual by its size"};
  if (normalise > 0) return {.unbiased = false, .why = "the normalized target weighs a residual by its size"};
  return {};
}

Claims claims_under(const MetricConfig& metric, const TangentPolicy& tangent) {
  const Claims claims = claims_under(metric, tangent.normalise);
  if (claims.unbiased && tangent.clamp_residual > 0)
    return {.unbiased = false, .why = fmt::format("elements of the correction are cut to an absolute value of {}", tangent.clamp_residual)};
  return claims;
}

Claims claims_of_derivative(const DerivativeConfig& derivative, const TangentPolicy& tangent, const Claims& otherwise) {
  if (tangent.warmup != 1) return {false, false, fmt::format("the derivative is multiplied by {}", tangent.warmup)};
  if (tangent.clamp > 0) return {false, false, fmt::format("elements of the derivative are cut to an absolute value of {}", tangent.clamp)};
  if (derivative.kind != "jvp") return {false, false, fmt::format("a finite difference with step {} in place of the derivative", derivative.delta)};
  return otherwise;
}

Drawn with_warmup(PathBatch p, const TangentPolicy& tangent, const TrainingStep& now) {
  if (tangent.warmup_over <= 0) return {std::move(p), {}};
  Tensor of_rows = Tensor::full({p.rows()}, tangent.schedule().at(now), p.z.dtype());
  return {std::move(p), {{"warmup", std::move(of_rows)}}};
}

Tensor warmup_of(const Drawn& drawn, const TangentPolicy& tangent) { return tangent.warmup_over > 0 ? drawn["warmup"] : Tensor(); }

void check_warmup(const TangentPolicy& tangent, const std::string& keys, std::int64_t steps) {
  if (tangent.warmup_over > static_cast<double>(steps) && tangent.warmup_over > 1)
    throw ConfigError(fmt::format("{}.tangent.warmup_over = {} steps, and the training has {}: the derivative's factor would never reach its full value. Train longer, or give a share of the "
                                  "training, such as 0.2", keys, tangent.warmup_over, steps));
}

ObjectiveLoss report_weighed(const Measured& measured, const PathBatch& p, bool row_weight, const LogVariance& log_variance) {
  if (!row_weight) return report(measured, p.s, p.t, p.off_diagonal);
  if (!log_variance) throw Error("an objective with row_weight was given no log variance of rows: set Nets::log_variance");
  const Var l = log_variance(p.s, p.t);
  Measured weighed = measured;
  weighed.rows = exp(-l) * measured.rows + l;
  weighed.loss = mean(weighed.rows);
  ObjectiveLoss out = report(weighed, p.s, p.t, p.off_diagonal);
  out.metrics["log_variance"] = Late(mean(l.value()));
  return out;
}

}  // namespace fm
