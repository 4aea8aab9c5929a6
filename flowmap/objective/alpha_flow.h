// alpha-Flow (Zhang et al. 2025): from trajectory flow matching (alpha = 1) to MeanFlow (alpha -> 0) without a derivative on the way.
//   t' = t - alpha (t-s),   z' = z_t - alpha (t-s) w,   y = alpha w + (1-alpha) u(z', s, t')
//   | u(z_t, s, t) - sg y |^2 / alpha
// because u - y = alpha (u - w + (t-s) du/dt) + O(alpha^2). alpha = 1/2 is close to Shortcut. With the adaptive metric the weight is
// alpha / (mean square + c) instead, as in the paper's code. Rows with s = t are flow matching towards w.
#pragma once

#include "flowmap/objective/mean_flow.h"

namespace fm {

struct AlphaFlowConfig {
  double alpha = 1;                      // 0: MeanFlow with `derivative`
  double clamp = 4;                      // elements of y on off-diagonal rows are cut to it; 0: not
  PairConfig pairs;
  LabelDropout labels;
  DerivativeConfig derivative;
  MetricConfig metric{"adaptive", "mean", 1e-3, 1};
  template <class V> void visit(V&& v) {
    v("alpha", alpha, "step of the target as a share of t - s; 0: MeanFlow", range(0, 1));
    v("clamp", clamp, "largest element of the target; 0: no limit", at_least(0));
    v("pairs", pairs, "times s <= t");
    v("labels", labels, "label dropout");
    v("derivative", derivative, "du/dt, for alpha = 0");
    v("metric", metric, "from residual to loss");
  }
};

// 1 before `begin`, 0 after `end`, a sigmoid of the given steepness between; within 0.005 of 0 or 1 it is that.
double alpha_at(double step, double begin, double end, double steepness = 25);

ObjectiveLoss alpha_flow(const FlowMapNet& net, const Batch& batch, const VelocitySource& velocity, const AlphaFlowConfig& config);
ObjectiveLoss alpha_flow(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const AlphaFlowConfig& config);

}  // namespace fm
