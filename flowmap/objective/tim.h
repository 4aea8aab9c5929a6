// Transition models (TiM; Wang et al. 2025): MeanFlow whose derivative is a difference on the path itself.
//
//   a | u(z_t, s, t) - sg( w - (t-s) D ) |^2,      D = [ u(z_{t+d}, s, t+d) - u(z_{t-d}, s, t-d) ] / (2 d),      z_t' = (1-t') z0 + t' eps
//   a = 1 / sqrt(tan t - tan s + 1)                t in radians; 1 where s = t
//
// The path between a sample and its noise is a straight line, so the two states of D are made of z0 and eps alone, and D is a derivative along eps - z0,
// whatever w is. With w = eps - z0 it is MeanFlow's derivative up to an error of d^2, or exactly with derivative.kind = jvp. With a teacher's w the mean of
// D over the pairs (z0, eps) of a z_t is still MeanFlow's derivative, because du/dz depends on z_t alone. So the minimum is the same, but a single row has a
// residual even at the true map.
//
// The defaults are plain: l2. Published settings are metric = adaptive, mean, c = 1e-5 (a / (L + c), which moves the minimum if targets are noisy), and
// differences that may leave s <= t <= 1 (derivative.clamp_times = false). The published code also guides its target by an averaged network at t in
// [0.3, 0.8], and adds a cosine loss and a feature loss. These are not implemented; a guided teacher as w can replace the guidance.
#pragma once

#include "flowmap/objective/entry.h"

namespace fm {

struct TransitionModelConfig {
  bool tangent_weight = true;
  PairConfig pairs{.time = {.distribution = "logit_normal", .mean = -0.4, .deviation = 1}, .diagonal_share = 0.5, .zero_share = 0.1};
  LabelDropout labels;
  DerivativeConfig derivative{"central"};
  MetricConfig metric;
  template <class V> void visit(V&& v) {
    v("tangent_weight", tangent_weight, "row weights 1 / sqrt(tan t - tan s + 1); false: equal weights");
    v("pairs", pairs, "times s <= t of each row");
    v("labels", labels, "label dropout");
    v("derivative", derivative, "method for du/dt along the path between a sample and its noise");
    v("metric", metric, "metric from residual to loss");
  }

  static constexpr std::string_view name = "tim", says = "MeanFlow with differences along the path between a sample and its noise (TiM)";
  Needs needs() const;
  Claims claims() const;
  static TransitionModelConfig published();
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
};

// The loss at given points.
ObjectiveLoss transition_model(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const TransitionModelConfig& config);

}  // namespace fm
