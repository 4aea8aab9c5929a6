// Lagrangian self-distillation (LSD; Boffi et al. 2025): when the end time s of a jump changes, the jump's end moves along the flow.
//   d_s f = u - (t-s) du/ds,   f = z - (t-s) u,      | d_s f - sg v(sg f, s) |^2        on rows with s < t,
//   flow matching towards the velocity source         on rows with s = t
// The gradient passes through the derivative: the tangent is taped. v is the network's own diagonal, or a teacher.
// through_derivative = false makes it the semi-gradient form | u - sg( v(f, s) + (t-s) du/ds ) |^2, whose tangent is not taped. With the teacher's
// velocity as well, this form is LMD (lmd.h).
// row_weight: a learned e^-l(s,t) weighs the rows (report_weighed), as in the paper; off by default.
#pragma once

#include "flowmap/objective/entry.h"

namespace fm {

struct LsdConfig {
  bool through_derivative = true;
  std::string end_velocity = "own";
  bool row_weight = false;
  PairConfig pairs;
  LabelDropout labels;
  MetricConfig metric;
  template <class V> void visit(V&& v) {
    v("through_derivative", through_derivative, "gradients also pass through du/ds; false: the loss treats du/ds as a constant");
    v("end_velocity", end_velocity, "velocity at the end of a jump: the network's own (own), or the teacher's (teacher)", one_of({"own", "teacher"}));
    v("row_weight", row_weight, "row weights from a learned log variance of (s, t); false: equal weights");
    v("pairs", pairs, "times s <= t of each row");
    v("labels", labels, "label dropout");
    v("metric", metric, "metric from residual to loss");
  }

  static constexpr std::string_view name = "lsd", says = "a jump's end moves with the flow as s does (LSD)";
  Needs needs() const;
  Claims claims() const;
  static LsdConfig published();
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
};

// The loss at given points. `v`: the velocity at the jump's end; diagonal(net) for self-distillation. It is evaluated without history.
// `log_variance` is needed for row_weight.
ObjectiveLoss lsd(const FlowMapNet& net, const VelocityNet& v, const PathBatch& p, const VelocitySource& velocity, const LsdConfig& config,
                  const LogVariance& log_variance = {});

}  // namespace fm
