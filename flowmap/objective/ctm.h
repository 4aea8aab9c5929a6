// Consistency trajectory models (CTM; Kim et al. 2024), without their GAN: a jump from t to s must end at the same place as a teacher's steps from t to m
// and a jump from m to s. The two ends are compared in data space.
//   a = f-_{s->0}( f_{t->s}(z_t) ),   b = sg f-_{s->0}( f-_{m->s}( Solve(z_t, t -> m) ) ),   s <= m < t,      | a - b |^2        on rows with s < t,
//   k(t) | x^(z_t) - z0 |^2 = (t^2 + (1-t)^2) | v(z_t, t) - w |^2                                                              on rows with s = t
// f- has averaged weights (decay 0.999), which are frozen: in a, gradients pass through f- to its input, not to its weights. x^ = z_t - t v(z_t, t). With
// w = eps - z0 the second line is denoising score matching under Karras' weight for data of unit variance, k(t) = (t^2 + (1-t)^2) / t^2. f is the paper's
// G(z, t, s) = (s/t) z + (1 - s/t) g in this project's parametrization.
//
// Departures from the published code:
//   weight of the second line   a fixed number; published: the ratio of two gradient norms
//   times                       from a continuous distribution, m uniform between s and t; published: from a grid of 18 points
//   solver steps from t to m    equally many on each row; published: one per grid step, 1 to 17
//   distance                    l2 by default; published: LPIPS
#pragma once

#include "flowmap/objective/entry.h"
#include "flowmap/sampler.h"

namespace fm {

struct CtmConfig {
  std::string solver = "heun";
  std::int64_t solver_steps = 4;
  double diagonal_weight = 1;
  double target_decay = 0.999;
  PairConfig pairs{.diagonal_share = 0.5};         // half of the rows have s = t: the published loss has both terms on each sample
  LabelDropout labels;
  MetricConfig metric;
  template <class V> void visit(V&& v) {
    v("solver", solver, "solver of the teacher's ODE between t and m", ChoiceRule{solver_names()});
    v("solver_steps", solver_steps, "solver steps from t to m, equally many on each row", range(1, 10000));
    v("diagonal_weight", diagonal_weight, "c in the weight c (t^2 + (1-t)^2) of rows with s = t", at_least(0));
    v("target_decay", target_decay, "decay of the averaged, frozen weights that make targets and jumps to data; 0: a frozen copy of the last step's weights",
      range(0, 0.999999));
    v("pairs", pairs, "times s <= t of each row");
    v("labels", labels, "label dropout");
    v("metric", metric, "metric from residual to loss");
  }

  static constexpr std::string_view name = "ctm", says = "a jump equals steps of the teacher and a shorter jump, compared in data space (CTM without GAN)";
  Needs needs() const;
  Claims claims() const;
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  Drawn complete(PathBatch p, const TrainingStep& now) const;             // adds "middle" (B): m
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
};

// The loss at given points. `middle` (B): m; rows with s = t do not use it. `target`: f-, with frozen parameters.
ObjectiveLoss ctm(const FlowMapNet& net, const FlowMapNet& target, const VelocityNet& teacher, const PathBatch& p, const Tensor& middle,
                  const VelocitySource& velocity, const CtmConfig& config);

}  // namespace fm
