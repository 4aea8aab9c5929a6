// Flow-anchored consistency (FACM; Peng et al. 2025): consistency at s = 0, held in place by flow matching of the same network on the same rows.
//
//   |v - w|^2 + cosine (1 - cos(v, w)),                                        v = u(z_t, t, t): the anchor
//   sin(pi t / 2) | u - sg( u - alpha g ) |^2,    g = u - w + t du/dt,         u = u(z_t, 0, t): consistency;   alpha = 1 - (1-t)^power
//
// the sum of both, each the mean over a row's elements; cos is that of the channels (dimension 1), averaged over positions. At the true map g is 0, and
// with w = eps - z0 its mean is: alpha and the sine only weigh rows, as a longer or shorter step towards the target. w is a velocity source (published: a
// guided teacher). metrics["residual_anchor"] and ["residual_consistency"] are the mean squares of v - w and alpha g; raw_mse is their sum.
//
// The defaults are plain: no cosine, no cut, l2. Published: cosine = 1, tangent.clamp_residual = 1 (g is cut before alpha), metric = adaptive, mean, c = 1e-3,
// p = 0.5 (of the consistency term alone), all of which move the minimum where w is noise. Published times are 2/pi atan(sigma), sigma log-normal
// (-0.8, 1.6); these are the logit-normal of the same numbers, which the code has as another choice. Where the code turns the teacher's guidance off
// in an interval, give the stage such a teacher.
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
    v("sine_weight", sine_weight, "row weights sin(pi t / 2) in the consistency term");
    v("cosine", cosine, "weight of 1 - cos(v, w) in the anchor", at_least(0));
    v("time", time, "distribution of t");
    v("labels", labels, "label dropout");
    v("derivative", derivative, "du/dt of the consistency term");
    v("metric", metric, "metric from residual to loss, of the consistency term");
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

// At points that are already drawn, whose s is 0. `now`: for a warm-up that rises.
ObjectiveLoss facm(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const FacmConfig& config, const TrainingStep& now = {});

}  // namespace fm
