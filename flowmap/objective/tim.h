// Transition models (TiM; Wang et al. 2025): MeanFlow whose derivative is a difference on the path itself.
//
//   a | u(z_t, s, t) - sg( w - (t-s) D ) |^2,      D = [ u(z_{t+d}, s, t+d) - u(z_{t-d}, s, t-d) ] / (2 d),      z_t' = (1-t') z0 + t' eps
//   a = 1 / sqrt(tan t - tan s + 1)                t in radians; 1 where s = t
//
// The path between a sample and its noise is a straight line, so the two states of D are made of z0 and eps and no velocity has to be known to find them:
// the derivative is that along eps - z0, whatever w is. With w = eps - z0 it is MeanFlow's, up to d^2 (derivative.kind = jvp: without that). With a teacher's
// w the mean of D over the noise is still the right one, as u's slope in z is at z_t, so the minimum stays; a single row has a residual even at the true map.
//
// The defaults are plain: l2. Published: metric = adaptive, mean, c = 1e-5 (a / (L + c), which moves the minimum where targets are noisy), and differences
// that may leave s <= t <= 1 (derivative.clamp_times = false). The published code's target is guided by an average of the network at t in [0.3, 0.8], and it
// has a cosine and a feature loss besides: neither is here; a guided teacher as w takes the place of the first.
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
    v("tangent_weight", tangent_weight, "row weights 1 / sqrt(tan t - tan s + 1)");
    v("pairs", pairs, "times s <= t of each row");
    v("labels", labels, "label dropout");
    v("derivative", derivative, "du/dt along the path between a sample and its noise");
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

// At points that are already drawn.
ObjectiveLoss transition_model(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const TransitionModelConfig& config);

}  // namespace fm
