#include "flowmap/metric.h"

#include <cmath>

#include "flowmap/path.h"
#include "tensor/error.h"

namespace fm {
namespace {

Tensor power(const Tensor& x, double p) { return p == 1 ? x : exp(log(x) * p); }
double or_default(double c, double otherwise) { return c > 0 ? c : otherwise; }

// sum_of_squares (B), of rows of `elements` numbers
Var metric(const Var& sum_of_squares, double elements, const MetricConfig& config) {
  if (config.kind == "l2") return sum_of_squares / elements;
  const Var S = config.reduction == "mean" ? sum_of_squares / elements : sum_of_squares;
  const Tensor sg = S.value();
  if (config.kind == "adaptive") return S / power(sg + or_default(config.c, 0.01), config.p);
  if (config.kind == "squared_adaptive") return square(S) / power(square(sg) + or_default(config.c, 1e-3), config.p);
  if (config.kind == "pseudo_huber") {
    const double c = or_default(config.c, 0.00054 * std::sqrt(elements));
    return S / (sqrt(S + c * c) + c);      // = sqrt(S + c^2) - c without cancellation
  }
  if (config.kind == "log") return log(S + or_default(config.c, 0.01));
  if (config.kind == "power") {
    if (config.p == 0) throw ConfigError("metric power: p = 0 makes every loss 1; choose p above 0, or the metric log");
    return exp(log(S + or_default(config.c, 1e-12)) * config.p);
  }
  throw ConfigError("there is no metric kind '" + config.kind + "': known are l2, adaptive, squared_adaptive, pseudo_huber, log and power");
}

}  // namespace

Measured measure(const Var& residual, const MetricConfig& config, const Tensor& weight) {
  const double elements = static_cast<double>(residual.numel()) / static_cast<double>(residual.dim(0));
  const Var squares = row_sums(square(residual));
  Var rows = metric(squares, elements, config);
  if (weight.defined()) rows = rows * weight;
  return {mean(rows), squares.value() / elements, rows};
}

}  // namespace fm
