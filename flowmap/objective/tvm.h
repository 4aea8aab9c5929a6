// Terminal velocity matching (TVM, 2025): when s changes, a jump's end moves with the velocity of the averaged network, and the network's own velocity is
// matched to the data. Every row has both terms.
//   | d_s f - sg v-(sg f, s) |^2  +  | v(z_s', s') - w |^2,      f = z_t - (t-s) u(z_t, s, t),   d_s f = u - (t-s) du/ds,   v(z, t) = u(z, t, t)
// v- has averaged weights (decay 0.99), and du/ds is taped. z_s' = (1-s') z0 + s' eps has the noise of z_t, and w is the velocity source at z_s'. The gap is
// drawn first, t - s ~ LN(-0.8, 1), then s ~ LN(-0.4, 1) truncated to s < 1 - gap, and s' ~ LN(-0.4, 1), where LN(a, b) is the logistic of N(a, b^2). All
// times are then shifted (time.h). draw() makes no rows with s = t; at given points with s = t the first term is 0.
//
// Not implemented: guidance inside the target, for which the paper's network takes the guidance weight as a condition (this objective has the
// weight 1), and the published code's replacement of NaN by 0.
#pragma once

#include "flowmap/objective/entry.h"

namespace fm {

struct TvmConfig {
  double gap_mean = -0.8, gap_deviation = 1;
  TimeConfig time{"logit_normal", -0.4, 1};
  TimeConfig second_time{"logit_normal", -0.4, 1};
  double target_decay = 0.99;
  LabelDropout labels;
  MetricConfig metric;
  template <class V> void visit(V&& v) {
    v("gap_mean", gap_mean, "mean of the logit of t - s, before the shift");
    v("gap_deviation", gap_deviation, "standard deviation of the logit of t - s", above(0));
    v("time", time, "distribution of s for a given t - s; its setting upper is the largest t before the shift");
    v("second_time", second_time, "distribution of the time of the flow-matching term");
    v("target_decay", target_decay, "decay of the averaged weights; with them the network gives the velocity at the end of a jump; 0: the network's own weights",
      range(0, 0.999999));
    v("labels", labels, "label dropout");
    v("metric", metric, "metric from residual to loss in each term");
  }

  static constexpr std::string_view name = "tvm", says = "a jump's end moves with the velocity of the averaged network; flow matching on every row (TVM)";
  Needs needs() const;
  Claims claims() const;
  static TvmConfig published();                                           // times up to 1, which are not shifted
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  Drawn complete(PathBatch p, const TrainingStep& now) const;             // adds "second_time" (B)
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
};

// The loss at given points. `second_time` (B): s'. `target`: the network whose diagonal is v-; if empty, `net` without history.
ObjectiveLoss tvm(const FlowMapNet& net, const PathBatch& p, const Tensor& second_time, const VelocitySource& velocity, const TvmConfig& config,
                  const FlowMapNet& target = {});

}  // namespace fm
