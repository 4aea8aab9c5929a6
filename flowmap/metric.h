// Metrics: functions from a row's residuals r to its loss. S is the row's sum (or mean) of squares, D its number of elements, sg a stop-gradient:
//
//   l2                 mean r^2
//   adaptive           S / sg(S + c)^p            MeanFlow (Geng et al. 2025): gradient ~ that of log S for p = 1
//   squared_adaptive   S^2 / sg(S^2 + c)^p        the released MF-RAE code
//   pseudo_huber       sqrt(S + c^2) - c          improved consistency training (Song and Dhariwal 2023)
//   log                log(S + c)                 DMF, whose learned log variance l only changes c: log(S e^-l + k) + l = log(S + k e^l)
//   power              (S + c)^p                  ECT: |r| for p = .5
//
// log and power have no stop-gradient. log has the gradient of adaptive with p = 1, but its value falls with S. The value of the adaptive kinds stays near 1
// for p = 1, so every metric also returns the raw mean square.
#pragma once

#include <string>

#include "autodiff/var.h"
#include "nn/config/visit.h"

namespace fm {

struct MetricConfig {
  std::string kind = "l2";
  std::string reduction = "sum";
  double c = 0;
  double p = 1;
  template <class V> void visit(V&& v) {
    v("kind", kind, "function from residuals to the loss", one_of({"l2", "adaptive", "squared_adaptive", "pseudo_huber", "log", "power"}));
    v("reduction", reduction, "number S of a row, for all kinds but l2: sum or mean of the squares of the row's residual", one_of({"sum", "mean"}));
    v("c", c,
      "constant c of the formula; 0: the default of the kind (adaptive and log 0.01, squared_adaptive 1e-3, pseudo_huber 0.00054 sqrt(elements of a row), "
      "power 1e-12)",
      at_least(0));
    v("p", p, "exponent p of the divisor (adaptive kinds) or of S + c (power); the other kinds ignore it", at_least(0));
  }
};

struct Measured {
  Var loss;                              // scalar: mean over rows of weight * metric
  Tensor raw;                            // (B): mean square of each row's residual
  Var rows = {};                         // (B): weight * metric; the loss is their mean
};

// residual (B, ...); weight (B) or undefined (ones).
Measured measure(const Var& residual, const MetricConfig& config, const Tensor& weight = {});

}  // namespace fm
