// SoFlow (Luo et al. 2025): a jump from z_t and a jump from z', a small step a (t-s) down the path, must have the same end at s.
//   t' = t - a (t-s),   z' = z_t - a (t-s) w,   | f_{t->s}(z_t) - sg f_{t'->s}(z') |^2 / (a (t-s)^2)  =  | u - sg y |^2 / a
// with alpha-Flow's y = a w + (1-a) u(z', s, t'), because (t-s)(y - u) is the difference of the two ends. SoFlow differs from alpha-Flow in three settings: a
// falls exponentially and stays above 0, t and s have distributions of their own, and no element of y is cut. Rows with s = t are flow matching
// towards w. With w = eps - z0 the minimum has an error of first order in a.
//
// The metric is applied to the residual / a, and its value is multiplied by a: S/a for l2, and S/a (S/a^2 + c)^-p for the adaptive kind. The paper's metric is
// adaptive (mean, c = .01, p = 1; other code has p = .5). The released code gives rows with s < t half the weight.
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
    v("smallest_step", smallest_step, "smallest t - s on rows with s < t, and smallest step of the target in t", range(1e-6, 0.1));
    v("pairs", pairs, "shares of rows with s = t and of rows with s = 0; pairs.time is the distribution of t on rows with s < t");
    v("end_time", end_time, "distribution of s, which is then limited to t - smallest_step");
    v("diagonal_time", diagonal_time, "distribution of t on rows with s = t");
    v("labels", labels, "label dropout");
    v("metric", metric, "metric from residual to loss");
  }

  static constexpr std::string_view name = "so_flow", says = "jumps from two nearby points of the path end at the same place (SoFlow)";
  Needs needs() const;
  Claims claims() const;
  static SoFlowConfig published();
  Drawn complete(PathBatch p, const TrainingStep& now) const;            // adds "alpha", which is 1 where s = t
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
  void check(const std::string& keys, std::int64_t steps) const;         // ConfigError if alpha leaves (0, 1] or its schedule does not fit this number of steps
};

}  // namespace fm
