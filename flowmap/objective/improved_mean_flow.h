// Improved MeanFlow (iMF; Geng et al. 2025, "Improved Mean Flows"), its objective without guidance: MeanFlow's derivative is taken along the network's
// own velocity, so that only the target sees the noise of w.
//
//   V = u(z_t, s, t) + (t-s) sg(du/dt),      du/dt = (du/dz) v + du/dt|_z,   v = sg u(z_t, t, t),      | V - w |^2
//
// w is a velocity source, as in mean_flow.h; rows with s = t are flow matching towards it. The expected gradient is 0 at the true map with w = eps - z0,
// and stays 0 where the gradient passes through du/dt as well (through_derivative): along w itself it would not (tests/flowmap/improved_mean_flow.cpp).
// The paper's conditions on the scale of guidance and its second head are not here.
#pragma once

#include "flowmap/derivative.h"
#include "flowmap/objective/entry.h"

namespace fm {

struct ImprovedMeanFlowConfig {
  bool through_derivative = false;
  PairConfig pairs;
  LabelDropout labels;
  DerivativeConfig derivative;
  MetricConfig metric;
  template <class V> void visit(V&& v) {
    v("through_derivative", through_derivative, "gradients pass through du/dt");
    v("pairs", pairs, "times s <= t");
    v("labels", labels, "label dropout");
    v("derivative", derivative, "du/dt along the network's own velocity");
    v("metric", metric, "from residual to loss");
  }

  static constexpr std::string_view name = "improved_mean_flow", says = "MeanFlow whose derivative goes along the network's own velocity (iMF)";
  Needs needs() const;
  Claims claims() const;
  static ImprovedMeanFlowConfig published();
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
  // ConfigError: gradients are to pass through a derivative that is a difference.
  void check(const std::string& keys, std::int64_t steps) const;
};

// At points that are already drawn. ConfigError as from check().
ObjectiveLoss improved_mean_flow(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const ImprovedMeanFlowConfig& config);

}  // namespace fm
