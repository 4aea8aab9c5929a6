// Continuous-time consistency (Song et al. 2023; Lu and Song 2025) in velocity form. With any s it is the flow-map version, AYF's EMD (Sabour et al.
// 2025). The end f = z - (t-s) u of a jump must not move when the jump's start moves along the trajectory.
//   g = df/dt = w - u - (t-s) du/dt,     grad = E[ g . grad f ],     written here as  | f - sg(f - g) |^2 / 2 row by row
// The default has s = 0 on every row: consistency training with w = eps - z0, distillation with a teacher. The gradient is MeanFlow's times
// (t-s), so rows with s = t have no gradient. Usual guards: tangent.normalise = 0.1, and tangent.warmup = 0.99 that rises over the first
// steps (tangent.warmup_over).
#pragma once

#include "flowmap/derivative.h"
#include "flowmap/objective/entry.h"

namespace fm {

struct ContinuousCmConfig {
  PairConfig pairs{.diagonal_share = 0, .zero_share = 1};
  LabelDropout labels;
  DerivativeConfig derivative;
  MetricConfig metric;
  TangentPolicy tangent;
  template <class V> void visit(V&& v) {
    v("pairs", pairs, "times s <= t of each row");
    v("labels", labels, "label dropout");
    v("derivative", derivative, "method for du/dt");
    v("metric", metric, "metric from residual to loss");
    v("tangent", tangent, "guards of df/dt, the change of a jump's end with t");
  }

  static constexpr std::string_view name = "continuous_cm", says = "a jump's end does not move with t (consistency; AYF)";
  Needs needs() const;
  Claims claims() const;
  static ContinuousCmConfig published();
  Drawn complete(PathBatch p, const TrainingStep& now) const;
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
};

// The loss at given points. metrics["raw_mse"] is the mean square of df/dt after the guards. `now`: the step, which a rising warm-up needs.
ObjectiveLoss continuous_cm(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const ContinuousCmConfig& config,
                            const TrainingStep& now = {});

}  // namespace fm
