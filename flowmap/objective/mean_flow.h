// MeanFlow (Geng et al. 2025), trained from data (MFT) or distilled from a teacher (MFD): MF-RAE Eq. 2.
//
//   | u(z_t, s, t) - sg( w - (t-s) du/dt ) |^2,      du/dt = (du/dz) w + du/dt|_z
//
// w is a velocity source: eps - z0 (MFT), a teacher (MFD), or a blend (Prop. 3.1). Rows with s = t are plain flow matching towards w.
#pragma once

#include "flowmap/compat.h"
#include "flowmap/derivative.h"
#include "flowmap/objective/entry.h"

namespace fm {

struct MeanFlowConfig {
  PairConfig pairs;
  LabelDropout labels;
  DerivativeConfig derivative;
  MetricConfig metric;
  TangentPolicy tangent;
  Compat compat;
  template <class V> void visit(V&& v) {
    v("pairs", pairs, "times s <= t of each row");
    v("labels", labels, "label dropout");
    v("derivative", derivative, "method for du/dt in the target");
    v("metric", metric, "metric from residual to loss");
    v("tangent", tangent, "guards of the derivative");
    v("compat", compat, "switches for the places where MF-RAE's released code departs from its paper");
  }

  static constexpr std::string_view name = "mean_flow", says = "the MeanFlow identity u = w - (t-s) du/dt";
  DerivativeConfig used_derivative() const;                              // `derivative` with the changes of `compat`
  Needs needs() const;
  Claims claims() const;
  static MeanFlowConfig published();
  Drawn complete(PathBatch p, const TrainingStep& now) const;
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
};

// The loss at given points. `now`: the step, which a rising warm-up needs.
ObjectiveLoss mean_flow(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const MeanFlowConfig& config,
                        const TrainingStep& now = {});

}  // namespace fm
