// MeanFlow with guidance inside its target (Geng et al. 2025, section 4.2): a sample with guidance costs one call of the network, not two.
//
//   | u(z_t, s, t) - sg( w - (t-s) du/dt ) |^2,      du/dt = (du/dz) w + du/dt|_z
//   w = omega vh + kappa v(z_t, t, y) + (1 - omega - kappa) v(z_t, t, null)     for t in [low, high], on rows with a label;  w = vh elsewhere
//
// vh is a velocity source, as in mean_flow.h (eps - z0, or a teacher), v(z, t, y) = sg u(z, t, t, y) the network itself. The fixed point has the guided
// velocity null + omega / (1 - kappa) (vh - null), of scale 2.5 at the defaults, which are the paper's for XL/2. The minimum is the flow map of that
// velocity. If labels have no effect on the network, that is vh's own flow map.
#pragma once

#include "flowmap/objective/mean_flow.h"

namespace fm {

struct GuidedMeanFlowConfig : MeanFlowConfig {
  double omega = 0.2, kappa = 0.92, low = 0, high = 0.75;
  template <class V> void visit(V&& v) {
    v("omega", omega, "share omega of the velocity source in the target's velocity; the scale of guidance is omega / (1 - kappa)", above(0));
    v("kappa", kappa,
      "share kappa of the network's own velocity with the label; its velocity without a label has the share 1 - omega - kappa", range(0, 0.9999));
    v("low", low, "smallest time at which targets are guided", range(0, 1));
    v("high", high, "largest time at which targets are guided", range(0, 1));
    MeanFlowConfig::visit(v);
  }

  static constexpr std::string_view name = "guided_mean_flow", says = "MeanFlow towards a velocity that the network itself guides: guidance costs nothing at sampling";
  SelfGuidance guidance() const { return {omega, kappa, {low, high}, labels.null_label}; }
  static GuidedMeanFlowConfig published();
  // The settings of each code that trains it (sources: sdvae-sit.md 3.2): the official one of Geng et al. in JAX, and two in PyTorch. They differ in the rows with
  // s = t and in the metric. Not among them: omega, kappa and interval, which each model of a code has for itself, and clipping (1.0 in PyTorch, none in JAX).
  static std::vector<std::pair<std::string, GuidedMeanFlowConfig>> ports();
  Needs needs() const;
  Claims claims() const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  // ConfigError as check_guidance().
  void check(const std::string& keys, std::int64_t steps) const;
};

}  // namespace fm
