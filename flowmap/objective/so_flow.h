// SoFlow (Luo et al. 2025): the end f_{t->s}(z_t) of a jump and the end f_{t'->s}(z') from a small step a (t-s) down the path must be the same.
//   t' = t - a (t-s),   z' = z_t - a (t-s) w,   | f_{t->s}(z_t) - sg f_{t'->s}(z') |^2 / (a (t-s)^2)  =  | u - sg y |^2 / a
// with alpha-Flow's y = a w + (1-a) u(z', s, t'), for (t-s)(y - u) is the difference of the two ends. It differs from alpha-Flow in three settings: a
// falls exponentially and stays above 0, t and s have distributions of their own, and no element of y is cut. Rows with s = t are flow matching
// towards w. With w = eps - z0 the minimum is off to first order in a.
//
// The metric takes the residual over a, and each row counts a times: S/a for l2, and S/a (S/a^2 + c)^-p for the adaptive kind, which is the paper's
// (mean, c = .01, p = 1; .5 in other code). The released code counts rows with s < t half as much.
#pragma once

#include "flowmap/objective/entry.h"

namespace fm {

struct SoFlowConfig {
  Ramp alpha{"exponential", 0.1, 0.002};
  double smallest_step = 1e-4;
  PairConfig pairs{.time = {.distribution = "logit_normal", .mean = 0.2, .deviation = 0.8}};
  TimeConfig end_time{.distribution = "logit_normal", .mean = -1, .deviation = 0.8};
  TimeConfig diagonal_time{.distribution = "logit_normal", .mean = -0.2, .deviation = 1};
  LabelDropout labels;
  MetricConfig metric;
  template <class V> void visit(V&& v) {
    v("alpha", alpha, "step of the target as a share of t - s");
    v("smallest_step", smallest_step, "smallest t - s, and smallest step of the target", range(1e-6, 0.1));
    v("pairs", pairs, "shares of rows with s = t and s = 0; time is the distribution of t on the other rows");
    v("end_time", end_time, "distribution of s, which is then cut to t less the smallest step");
    v("diagonal_time", diagonal_time, "distribution of t on rows with s = t");
    v("labels", labels, "label dropout");
    v("metric", metric, "metric from residual to loss");
  }

  static constexpr std::string_view name = "so_flow", says = "jumps from two near points of the path end at the same place (SoFlow)";
  Needs needs() const;
  Claims claims() const;
  static SoFlowConfig published();
  Drawn complete(PathBatch p, const TrainingStep& now) const;            // "alpha": 1 where s = t
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
  void check(const std::string& keys, std::int64_t steps) const;         // ConfigError: alpha leaves (0, 1] or its schedule does not fit this number of steps
};

}  // namespace fm
