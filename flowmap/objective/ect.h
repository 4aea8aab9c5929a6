// Easy consistency tuning (ECT; Geng et al. 2024): the discrete consistency of discrete_cm.h without a grid. t is continuous, and r < t approaches t
// stage by stage: from r = 0, which trains a denoiser, to a narrow gap.
//   sigma_r = sigma max(0, 1 - q^-(k+1) (1 + steps sigmoid(-slope sigma))),   k = floor(stage)
//   | f_{t->0}(z_t) - sg f_{r->0}(z_r) |^2 / (sigma - sigma_r),   z_r = z_t - (t-r) w
// With w = eps - z0, z_r is the point of the same data and noise, and the minimum has an error of O(t-r). The network itself makes the targets. Where
// sigma_r = 0 the target is z0, because f_{0->0} is the identity, so these rows need no special case.
//
// The published settings, log sigma ~ N(-1.1, 2) and slope 1, are for data of deviation 1/2; the defaults are the same converted to deviation 1. The published
// distance is sqrt(S) (metric: power, p = .5). The published one-hour runs have q = 256 and a constant stage 0. As for discrete_cm.h, a sampler of several
// calls must add noise between them.
#pragma once

#include "flowmap/objective/entry.h"

namespace fm {

struct EctConfig {
  TimeConfig time{.distribution = "logit_normal", .mean = -0.407, .deviation = 2};
  Ramp stage{"linear", 0, 8};
  double q = 2, steps = 8, slope = 0.5;
  LabelDropout labels;
  MetricConfig metric;
  template <class V> void visit(V&& v) {
    v("time", time, "distribution of t");
    v("stage", stage, "number of the stage over the training, rounded down; from each stage to the next the gap between the two times shrinks by the factor q");
    v("q", q, "factor by which the gap shrinks from stage to stage", range(1.01, 1e6));
    v("steps", steps, "extra width of the gap near data, as a multiple of the gap", at_least(0));
    v("slope", slope, "slope of the sigmoid by which the extra width falls with sigma = t / (1 - t)", above(0));
    v("labels", labels, "label dropout");
    v("metric", metric, "metric from residual to loss");
  }

  static constexpr std::string_view name = "ect", says = "consistency from denoising: jumps from two points that approach each other in stages (ECT)";
  Needs needs() const;
  Claims claims() const;
  static EctConfig published();
  Drawn complete(PathBatch p, const TrainingStep& now) const;            // adds "r" and "weight"
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
  void check(const std::string& keys, std::int64_t steps) const;         // ConfigError if a stage is not in [0, 30] or the schedule does not fit `steps`
};

}  // namespace fm
