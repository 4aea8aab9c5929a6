// Eulerian self-distillation (ESD; Boffi et al. 2025): the end of a jump must not move while its start moves along the flow.
//   | u(z_t, s, t) + (t-s) du/dt - b |^2,   du/dt = (du/dz) b + du/dt|_z,   b = sg u(z_t, t, t)      on rows with s < t,
//   flow matching towards the velocity source w                                                      on rows with s = t
// The gradient passes through du/dt ("convex" in the paper), whose tangent is taped. through_space = false detaches its part (du/dz) b ("full"). This
// costs two more passes, because the two parts of the derivative are then computed separately.
//
// velocity = "source" replaces b by w. With w = eps - z0 that is a negative control: the gradient through the derivative also minimizes the
// variance of the residual, so the minimum is not the flow map. MeanFlow has no such gradient, and b has no such noise.
// row_weight: a learned e^-l(s,t) weighs the rows (report_weighed), as in the paper; off by default.
#pragma once

#include "flowmap/objective/entry.h"

namespace fm {

struct EsdConfig {
  std::string velocity = "own";
  bool through_space = true;
  bool row_weight = false;
  PairConfig pairs;
  LabelDropout labels;
  MetricConfig metric;
  template <class V> void visit(V&& v) {
    v("velocity", velocity, "velocity b on rows with s < t: the network's own (own), or the velocity source's (source), a negative control if it is noisy",
      one_of({"own", "source"}));
    v("through_space", through_space, "gradients through all of du/dt along the velocity b, (du/dz) b + du/dt|_z; false: through du/dt|_z alone");
    v("row_weight", row_weight, "row weights from a learned log variance of (s, t); false: equal weights");
    v("pairs", pairs, "times s <= t of each row");
    v("labels", labels, "label dropout");
    v("metric", metric, "metric from residual to loss");
  }

  static constexpr std::string_view name = "esd", says = "a jump's end stays while its start moves along the network's own flow (ESD)";
  Needs needs() const;
  Claims claims() const;
  static EsdConfig published();
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
};

// The loss at given points. `log_variance` is needed for row_weight.
ObjectiveLoss esd(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const EsdConfig& config, const LogVariance& log_variance = {});

}  // namespace fm
