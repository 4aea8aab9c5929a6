// Flow-anchored consistency (FACM; Peng et al. 2025): consistency at s = 0, held in place by flow matching of the same network on the same rows.
//
//   |v - w|^2 + cosine (1 - cos(v, w)),                                        v = u(z_t, t, t): the anchor
//   sin(pi t / 2) | u - sg( u - alpha g ) |^2,    g = u - w + t du/dt,         u = u(z_t, 0, t): consistency;   alpha = 1 - (1-t)^power
//
// The loss of a row is the sum of both terms, each a mean over the row's elements. cos is taken over the channels (dimension 1) and averaged over positions.
// At the true map g is 0, or has mean 0 if w = eps - z0. So alpha and the sine only weigh rows, and alpha sets the length of the step towards the target.
// w is a velocity source (published: a guided teacher). metrics["residual_anchor"] and ["residual_consistency"] are the mean squares of v - w and alpha g;
// raw_mse is their sum.
//
// The defaults are plain: no cosine, no cut, l2. Published settings are cosine = 1, tangent.clamp_residual = 1 (g is cut before it is multiplied by alpha)
// and, for the consistency term, metric = adaptive, mean, c = 1e-3, p = 0.5. Each of these settings moves the minimum if w is noisy. Published times are
// 2/pi atan(sigma), sigma log-normal (-0.8, 1.6). Here they are logit-normal with the same numbers, which is an option of the published code. That code
// turns the teacher's guidance off in an interval; here this is a property of the stage's teacher.
#pragma once

#include "flowmap/objective/entry.h"

namespace fm {

struct FacmConfig {
  double power = 0.5;
  bool sine_weight = true;
  double cosine = 0;
  TimeConfig time{"logit_normal", -0.8, 1.6};
  LabelDropout labels;
  DerivativeConfig derivative;
  MetricConfig metric;
  TangentPolicy tangent;
  template <class V> void visit(V&& v) {
    v("power", power, "exponent p of alpha = 1 - (1-t)^p, the step towards the target of the consistency term", above(0));
    v("sine_weight", sine_weight, "row weights sin(pi t / 2) in the consistency term; false: equal weights");
    v("cosine", cosine, "weight of 1 - cos(v, w) in the anchor, the flow-matching term |v - w|^2 of the network's velocity v", at_least(0));
    v("time", time, "distribution of t");
    v("labels", labels, "label dropout");
    v("derivative", derivative, "method for du/dt in the consistency term");
    v("metric", metric, "metric from residual to loss in the consistency term");
    v("tangent", tangent, "guards of the derivative and of the correction g");
  }

  static constexpr std::string_view name = "facm", says = "consistency of u(z, 0, t), anchored by flow matching of u(z, t, t) on the same rows (FACM)";
  Needs needs() const;
  Claims claims() const;
  static FacmConfig published();
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  Drawn complete(PathBatch p, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
};

// The loss at given points, which must have s = 0. `now`: the step, which a rising warm-up needs.
ObjectiveLoss facm(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const FacmConfig& config, const TrainingStep& now = {});

}  // namespace fm
