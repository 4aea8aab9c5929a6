// SplitMeanFlow (Guo et al. 2025): the average over [s, t] is the weighted average over its two parts, for any split l in (0, 1). No derivative is needed.
//   m = (1-l) t + l s,   u2 = u(z, m, t),   z_m = z - (t-m) u2,   u1 = u(z_m, s, m),   | u(z, s, t) - sg( l u2 + (1-l) u1 ) |^2
// Rows with s = t are fitted to the velocity source and give the identity its boundary value. The objective is PSD of Boffi et al. (2025), who weigh rows by a
// learned e^-l(s,t): row_weight (report_weighed), off by default.
#pragma once

#include "flowmap/objective/entry.h"

namespace fm {

struct SplitMeanFlowConfig {
  bool row_weight = false;
  PairConfig pairs;
  LabelDropout labels;
  MetricConfig metric;
  template <class V> void visit(V&& v) {
    v("row_weight", row_weight, "row weights from a learned log variance of (s, t); false: equal weights");
    v("pairs", pairs, "times s <= t of each row");
    v("labels", labels, "label dropout");
    v("metric", metric, "metric from residual to loss");
  }

  static constexpr std::string_view name = "split_mean_flow", says = "the average velocity over [s, t] equals the weighted average over two parts of [s, t]";
  Needs needs() const;
  Claims claims() const;
  static SplitMeanFlowConfig published();
  Drawn complete(PathBatch p, const TrainingStep& now) const;
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
};

// The loss at given points. `log_variance` is needed for row_weight.
ObjectiveLoss split_mean_flow(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const SplitMeanFlowConfig& config,
                              const LogVariance& log_variance = {});

}  // namespace fm
