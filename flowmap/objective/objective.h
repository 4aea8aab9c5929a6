// What every objective gives back, and the numbers worth a line in the log.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "flowmap/batch.h"
#include "flowmap/metric.h"
#include "flowmap/tangent.h"
#include "tensor/late.h"

namespace fm {

struct ObjectiveLoss {
  Var loss;                                       // scalar: backward() it
  Tensor raw;                                     // (B): mean square of each row's residual, whatever the metric
  Tensor s, t;                                    // (B): where the rows were
  Tensor derivative_ratio;                        // (k): |du/dt| / |u| of the first rows; undefined if there is no derivative
  std::map<std::string, Late> metrics;            // loss, raw_mse, and by objective: raw_mse_diagonal, derivative_ratio, masked_rows ...
};

// Fills in loss, raw_mse (all rows, diagonal, off-diagonal) and off_diagonal_share.
ObjectiveLoss report(const Measured& measured, const Tensor& s, const Tensor& t, std::int64_t off_diagonal);
void report_derivative(ObjectiveLoss& out, const GuardedTangent& tangent, const Tensor& u);

}  // namespace fm
