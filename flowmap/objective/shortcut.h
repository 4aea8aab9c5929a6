// Shortcut models (Frans et al. 2025): a jump of length d must equal two jumps of length d/2, for dyadic d. No derivative is needed.
//   u1 = u(z, t - d/2, t),   z' = z - (d/2) u1,   u2 = u(z', t - d, t - d/2),   | u(z, t - d, t) - sg (u1 + u2)/2 |^2
// A share of the samples (1/8) has this loss, the others have flow matching at s = t. The lengths d = 1, 1/2, ..., 2/finest are equally frequent, and t
// is a multiple of d.
// The network receives (s, t), where the original network receives log2 d. The diagonal s = t stands for the original's smallest jump.
#pragma once

#include "flowmap/objective/entry.h"

namespace fm {

struct ShortcutConfig {
  double bootstrap_share = 0.125;
  std::int64_t finest = 128;             // the smallest half jump is 1/finest; a power of 2
  double clamp = 4;                      // elements of z' and of (u1 + u2)/2 are cut to [-clamp, clamp]; 0: no cut
  double target_decay = 0.999;           // decay of the averaged weights that make the two half jumps; 0: the network's own weights
  TimeConfig time;                       // distribution of t on the flow-matching rows
  LabelDropout labels;
  MetricConfig metric;
  template <class V> void visit(V&& v) {
    v("bootstrap_share", bootstrap_share, "share of rows that learn jumps; the other rows are flow matching", range(0, 1));
    v("finest", finest, "reciprocal of the smallest half jump, a power of 2", range(2, 1048576));
    v("clamp", clamp, "absolute value to which elements of the half-way state and of the target are cut; 0: no cut", at_least(0));
    v("target_decay", target_decay, "decay of the averaged weights that make the two half jumps; 0: the network's own weights", range(0, 0.999999));
    v("time", time, "distribution of t on the flow-matching rows");
    v("labels", labels, "label dropout");
    v("metric", metric, "metric from residual to loss");
  }

  static constexpr std::string_view name = "shortcut", says = "a jump equals two jumps of half its length, for dyadic lengths";
  Needs needs() const;
  Claims claims() const;
  static ShortcutConfig published();
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
  void check(const std::string& keys, std::int64_t steps) const;         // ConfigError if `finest` is not a power of 2
};

// Draws the points of a batch. Rows with a jump come first.
PathBatch draw_dyadic_jumps(const Batch& batch, const ShortcutConfig& config);
// The loss at given points. `target`: the network that makes the two half jumps (an EMA, say); empty: `net` itself.
ObjectiveLoss shortcut(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const ShortcutConfig& config,
                       const FlowMapNet& target = {});

}  // namespace fm
