#include "flowmap/objective/objective.h"

namespace fm {

ObjectiveLoss report(const Measured& measured, const Tensor& s, const Tensor& t, std::int64_t off_diagonal) {
  const std::int64_t rows = measured.raw.dim(0);
  ObjectiveLoss out{.loss = measured.loss, .raw = measured.raw, .s = s, .t = t, .derivative_ratio = {},
                    .off_diagonal_share = static_cast<double>(off_diagonal) / static_cast<double>(rows), .metrics = {}};
  out.metrics["loss"] = Late(measured.loss.value());
  out.metrics["raw_mse"] = Late(mean(measured.raw));
  if (off_diagonal > 0) out.metrics["raw_mse_off_diagonal"] = {mean(first_rows(measured.raw, off_diagonal)), Over::off_diagonal};
  if (off_diagonal < rows) out.metrics["raw_mse_diagonal"] = {mean(rows_from(measured.raw, off_diagonal)), Over::diagonal};
  out.metrics["off_diagonal_share"] = Late(out.off_diagonal_share);
  return out;
}

void report_derivative(ObjectiveLoss& out, const GuardedTangent& tangent, const Tensor& u) {
  if (!tangent.dudt.defined()) return;
  out.derivative_ratio = derivative_ratio(tangent.dudt, u);
  out.metrics["derivative_ratio"] = {mean(out.derivative_ratio), Over::off_diagonal};
  out.metrics["masked_share"] = {tangent.masked_share, Over::off_diagonal};
  out.metrics["clamped_share"] = {tangent.clamped_share, Over::off_diagonal};
}

}  // namespace fm
