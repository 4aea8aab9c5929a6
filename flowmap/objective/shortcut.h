// Shortcut models (Frans et al. 2025): a jump of length d is two jumps of length d/2, for dyadic d; no derivative.
//   u1 = u(z, t - d/2, t),   z' = z - (d/2) u1,   u2 = u(z', t - d, t - d/2),   | u(z, t - d, t) - sg (u1 + u2)/2 |^2
// on a share of the batch (1/8), flow matching at s = t on the rest. d = 1, 1/2, ..., 2/finest and t is a multiple of d. The network is
// told (s, t) where the original is told log2 d, and its smallest jump is the diagonal here.
#pragma once

#include "flowmap/objective/objective.h"
#include "flowmap/velocity.h"

namespace fm {

struct ShortcutConfig {
  double bootstrap_share = 0.125;
  std::int64_t finest = 128;             // the smallest half jump is 1/finest; a power of 2
  double clamp = 4;                      // elements of z' are cut to it; 0: not
  TimeConfig time;                       // of the flow-matching rows
  LabelDropout labels;
  MetricConfig metric;
  template <class V> void visit(V&& v) {
    v("bootstrap_share", bootstrap_share, "share of rows that learn jumps", range(0, 1));
    v("finest", finest, "1 / the smallest half jump, a power of 2", range(2, 1048576));
    v("clamp", clamp, "largest element of the half-way state; 0: no limit", at_least(0));
    v("time", time, "distribution of t on the flow-matching rows");
    v("labels", labels, "label dropout");
    v("metric", metric, "from residual to loss");
  }
};

// `target`: the network that makes the two half jumps (an EMA, say); `net` itself if empty.
ObjectiveLoss shortcut(const FlowMapNet& net, const Batch& batch, const VelocitySource& velocity, const ShortcutConfig& config,
                       const FlowMapNet& target = {});

}  // namespace fm
