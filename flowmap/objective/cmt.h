// Consistency mid-training for MeanFlow (CMT; MF-RAE Eq. 3): the network learns the long jumps of a teacher's ODE trajectory.
//   z^_0 ... z^_n: the teacher's states at times t_0 < ... < t_n = 1 (Euler, from noise);   for pairs i > j
//   | u(z^_i, t_j, t_i) - (z^_i - z^_j) / (t_i - t_j) |^2
// On a fixed grid the network sees a finite set of times. Between them its time derivative is arbitrary, although MeanFlow's target needs it in the
// next stage. With `jitter` the grid moves from step to step and covers all times.
// The target contains neither a derivative nor the network itself, so CMT is a stable start for MeanFlow. It needs labels but no images.
#pragma once

#include "flowmap/compat.h"
#include "flowmap/objective/entry.h"
#include "flowmap/sampler.h"

namespace fm {

struct CmtConfig {
  std::int64_t points = 16;              // number of points of the teacher's grid
  double shift = 0;                      // alpha of the grid; 0: shift_for_dimension()
  std::int64_t pairs = 64;               // random pairs of each trajectory, out of points (points-1) / 2
  double jitter = 0;
  std::string solver = "euler";
  LabelDropout labels;
  MetricConfig metric;
  Compat compat;
  template <class V> void visit(V&& v) {
    v("points", points, "number of points of the teacher's time grid; the solver takes one step fewer per trajectory", range(2, 10000));
    v("shift", shift, "factor alpha of the grid's time shift; 0: max(1, sqrt(dim / 4096)) for dim elements per sample; 1: no shift", at_least(0));
    v("pairs", pairs, "number of training pairs from each trajectory, drawn with replacement", range(1, 65536));
    v("jitter", jitter,
      "random shift of the grid's inner points at each training step: jitter / 2 is the largest shift, as a share of the distance to the next point; 0: a "
      "fixed grid, as published",
      range(0, 1));
    v("solver", solver, "solver of the teacher's ODE", ChoiceRule{solver_names()});
    v("labels", labels, "label dropout");
    v("metric", metric, "metric from residual to loss");
    v("compat", compat, "switches for the places where MF-RAE's released code departs from its paper");
  }

  static constexpr std::string_view name = "cmt", says = "jumps along a teacher's trajectory (consistency mid-training); needs no data";
  Needs needs() const;
  Claims claims() const;
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
};

struct Trajectories {
  std::vector<Tensor> states;            // each (B, ...), by falling time: states[0] is the noise
  Grid times;                            // falling times of the states, as the student receives them (compat.cmt_time_labels)
  Labels y;                              // after dropout: teacher and student share them
  Draws draws;
};

// Computes the teacher's trajectories from noise of shape (draws.rows(), row_shape...). One batch of trajectories can be used by several cmt() calls.
// `beside` above 0: the teacher is one of rows (z | k) with this many numbers of k (REG). k starts from noise of its own, and the states are those of z. Such
// a trajectory follows the joint flow: the pairs of noise and data of z are those of a map of (z, k), which a map of z can only meet in the mean.
Trajectories roll_out(const VelocityNet& teacher, const Shape& row_shape, const Labels& y, const Draws& draws, const CmtConfig& config,
                      DType dtype = DType::f32, std::int64_t beside = 0);

// Pairs of states: z, where the student's jump from t to s starts, and `target`, the average velocity that the jump should have.
struct CmtBatch {
  Tensor z, target;                      // (trajectories x pairs, ...)
  Tensor s, t;
  Labels y;
};
CmtBatch draw_jumps(const Trajectories& trajectories, const CmtConfig& config, std::uint32_t round = 0);
ObjectiveLoss cmt(const FlowMapNet& net, const CmtBatch& batch, const CmtConfig& config);

// Draws pairs and computes their loss. `round` numbers the calls that use the same trajectories, so that each draws other pairs. The loss has
// trajectories x pairs rows.
ObjectiveLoss cmt(const FlowMapNet& net, const Trajectories& trajectories, const CmtConfig& config, std::uint32_t round = 0);

}  // namespace fm
