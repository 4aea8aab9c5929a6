// Flow map matching (FMM; Boffi et al. 2024): a map and its inverse, trained together from data, for any two times.
//   y = f_{t->s}(z_t),      | d_t f_{s->t}(y) - w |^2  +  | f_{s->t}(y) - z_t |^2,      s and t in [0, 1], in any order
// w is the velocity source at (z_t, t): eps - z0 gives an unbiased gradient, because y is a function of z_t. With f_{s->t}(y) = y - (s-t) u(y, t, s):
//   d_t f_{s->t}(y) = u - (s-t) du/dt,   at u(y, t, s)
// The gradient passes through the taped derivative, and through y into the jump that made it. At s = t the first term is flow
// matching. The network is also called with s > t, for jumps towards the noise; t - s is then negative.
#pragma once

#include "flowmap/objective/entry.h"

namespace fm {

struct FlowMapMatchingConfig {
  TimeConfig time;
  LabelDropout labels;
  MetricConfig metric;
  template <class V> void visit(V&& v) {
    v("time", time, "distribution of both times, which are drawn independently");
    v("labels", labels, "label dropout");
    v("metric", metric, "metric from residual to loss in each term");
  }

  static constexpr std::string_view name = "flow_map_matching", says = "jumps in both directions, each the inverse of the other (FMM)";
  Needs needs() const;
  Claims claims() const;
  static FlowMapMatchingConfig published();
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
};

// The loss at given points. Every row has both terms, whatever its times.
ObjectiveLoss flow_map_matching(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const FlowMapMatchingConfig& config);

}  // namespace fm
