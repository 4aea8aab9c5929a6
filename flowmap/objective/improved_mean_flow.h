// Improved MeanFlow (iMF; Geng et al. 2025, "Improved Mean Flows"): MeanFlow's derivative is taken along the network's own velocity, so that only the
// target sees the noise of w.
//
//   V = u(z_t, s, t) + (t-s) sg(du/dt),      du/dt = (du/dz) v + du/dt|_z,   v = sg u(z_t, t, t),      | V - w |^2
//
// w is a velocity source, as in mean_flow.h; rows with s = t are flow matching towards it. The expected gradient is 0 at the true map with w = eps - z0,
// and stays 0 if the gradient also passes through du/dt (through_derivative). With a derivative along w it is not 0 (tests/flowmap/improved_mean_flow.cpp).
//
// With guidance (omega > 1) w becomes  w + (1 - 1/omega) (v(z_t, t, y) - v(z_t, t, null))  for t in [low, high], on rows with a label. v is the network's
// own velocity, and its fixed point has guidance of scale omega. The paper draws omega and the interval for each row and passes them to the network. Here they
// are settings, so a network has one scale. The paper's second head, for v, is left out too: v is the diagonal of u.
#pragma once

#include "flowmap/derivative.h"
#include "flowmap/objective/entry.h"

namespace fm {

struct ImprovedMeanFlowConfig {
  bool through_derivative = false;
  double omega = 1, low = 0, high = 1;
  PairConfig pairs;
  LabelDropout labels;
  DerivativeConfig derivative;
  MetricConfig metric;
  template <class V> void visit(V&& v) {
    v("through_derivative", through_derivative, "gradients also pass through du/dt; false: the loss treats du/dt as a constant");
    v("omega", omega, "scale of guidance inside the target; 1: no guidance", range(1, 1000));
    v("low", low, "smallest time at which targets are guided", range(0, 1));
    v("high", high, "largest time at which targets are guided", range(0, 1));
    v("pairs", pairs, "times s <= t of each row");
    v("labels", labels, "label dropout");
    v("derivative", derivative, "method for du/dt along the network's own velocity");
    v("metric", metric, "metric from residual to loss");
  }

  static constexpr std::string_view name = "improved_mean_flow", says = "MeanFlow whose derivative goes along the network's own velocity (iMF)";
  SelfGuidance guidance() const { return {1, 1 - 1 / omega, {low, high}, labels.null_label}; }
  Needs needs() const;
  Claims claims() const;
  static ImprovedMeanFlowConfig published();
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
  // ConfigError if through_derivative is set and the derivative is a finite difference, and as check_guidance().
  void check(const std::string& keys, std::int64_t steps) const;
};

// The loss at given points. ConfigError as from check().
ObjectiveLoss improved_mean_flow(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const ImprovedMeanFlowConfig& config);

}  // namespace fm
