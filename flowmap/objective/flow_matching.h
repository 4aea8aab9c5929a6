// Flow matching (Lipman et al. 2023): trains the velocity, and so the teachers of other objectives.
//   | v(z_t, t) - (eps - z0) |^2
#pragma once

#include "flowmap/objective/entry.h"

namespace fm {

struct FlowMatchingConfig {
  TimeConfig time;
  LabelDropout labels;
  MetricConfig metric;
  template <class V> void visit(V&& v) {
    v("time", time, "distribution of t");
    v("labels", labels, "label dropout");
    v("metric", metric, "metric from residual to loss");
  }

  static constexpr std::string_view name = "flow_matching", says = "the velocity alone: u(z, t, t)";
  Needs needs() const;
  Claims claims() const;
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
};

// draw_diagonal() draws points of the path with s = t; flow_matching() computes the loss at given points. For an average-velocity network pass
// diagonal(u). `velocity` is the regression target of v; with a teacher the loss is velocity distillation.
PathBatch draw_diagonal(const Batch& batch, const FlowMatchingConfig& config);
ObjectiveLoss flow_matching(const VelocityNet& v, const PathBatch& p, const FlowMatchingConfig& config,
                            const VelocitySource& velocity = one_point());

}  // namespace fm
