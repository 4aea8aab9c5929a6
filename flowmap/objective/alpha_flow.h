// alpha-Flow (Zhang et al. 2025): moves from trajectory flow matching (alpha = 1) to MeanFlow (alpha -> 0). It needs no derivative while alpha > 0.
//   t' = t - alpha (t-s),   z' = z_t - alpha (t-s) w,   y = alpha w + (1-alpha) u(z', s, t')
//   | u(z_t, s, t) - sg y |^2 / alpha
// The loss is divided by alpha because u - y = alpha (u - w + (t-s) du/dt) + O(alpha^2). alpha = 1/2 is close to Shortcut. With the adaptive metric the
// weight is alpha / (mean square + c), as in the paper's code. Rows with s = t are flow matching towards w.
#pragma once

#include "flowmap/objective/mean_flow.h"

namespace fm {

struct AlphaFlowConfig {
  Ramp alpha{"sigmoid", 1, 0};           // at 0: MeanFlow with `derivative`
  double clamp = 4;                      // while alpha > 0, elements of y where s < t are cut to [-clamp, clamp]; 0: no cut
  PairConfig pairs;
  LabelDropout labels;
  DerivativeConfig derivative;
  MetricConfig metric;
  template <class V> void visit(V&& v) {
    v("alpha", alpha, "step of the target as a share of t - s: 1 is flow matching, 0 is MeanFlow");
    v("clamp", clamp, "absolute value to which elements of the target are cut on rows with s < t while alpha > 0; 0: no cut", at_least(0));
    v("pairs", pairs, "times s <= t of each row");
    v("labels", labels, "label dropout");
    v("derivative", derivative, "method for du/dt, which is used only at alpha = 0");
    v("metric", metric, "metric from residual to loss");
  }

  static constexpr std::string_view name = "alpha_flow", says = "flow matching (alpha 1) that turns into MeanFlow (alpha 0); no derivative while alpha > 0";
  Needs needs() const;
  Claims claims() const;
  static AlphaFlowConfig published();
  Drawn complete(PathBatch p, const TrainingStep& now) const;
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
  // ConfigError if alpha leaves [0, 1], if its schedule does not fit this number of steps, or if the metric is neither l2 nor
  // adaptive.
  void check(const std::string& keys, std::int64_t steps) const;
};

// The loss at given points. `now`: the step, which the schedule of alpha needs. ConfigError as from check().
ObjectiveLoss alpha_flow(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const AlphaFlowConfig& config,
                         const TrainingStep& now = {});

// u - sg y of all rows, recorded: the residual of alpha-Flow and SoFlow. alpha (B) in (0, 1], one per row. y is w where s = t; limit > 0 clamps the
// elements of y where s < t.
Var alpha_flow_residual(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const Tensor& alpha, double limit = 0);

}  // namespace fm
