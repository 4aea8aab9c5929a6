// The result of every objective: the loss and the numbers for the log.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "flowmap/batch.h"
#include "flowmap/metric.h"
#include "flowmap/tangent.h"
#include "tensor/late.h"

namespace fm {

// The rows over which a metric is a mean. Rows with s < t come first, the others have s = t. When the parts of a batch are combined, each
// part's mean is weighed by the part's number of these rows.
enum class Over { all, diagonal, off_diagonal };

struct ObjectiveMetric : Late {
  Over over = Over::all;

  ObjectiveMetric() = default;
  ObjectiveMetric(const Late& value, Over rows = Over::all) : Late(value), over(rows) {}
};

struct ObjectiveLoss {
  Var loss;                                       // scalar, for backward()
  Tensor raw;                                     // (B): mean square of each row's residual, for any metric
  Tensor s, t;                                    // (B): times of the rows
  Tensor derivative_ratio;                        // (k): |du/dt| / |u| of the first rows; undefined without a derivative
  double off_diagonal_share = 0;                  // the share of rows with s < t
  std::map<std::string, ObjectiveMetric> metrics; // loss, raw_mse, and some that depend on the objective: raw_mse_diagonal, derivative_ratio, masked_share ...

  double share(Over rows) const {                 // the share of `rows` in the batch
    return rows == Over::all ? 1 : rows == Over::diagonal ? 1 - off_diagonal_share : off_diagonal_share;
  }
};

// Fills in loss, raw_mse (all rows, diagonal, off-diagonal) and off_diagonal_share.
ObjectiveLoss report(const Measured& measured, const Tensor& s, const Tensor& t, std::int64_t off_diagonal);
void report_derivative(ObjectiveLoss& out, const GuardedTangent& tangent, const Tensor& u);

}  // namespace fm
