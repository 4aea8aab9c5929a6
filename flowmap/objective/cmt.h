// Consistency mid-training for MeanFlow (CMT; MF-RAE Eq. 3): the network learns the long jumps of a teacher's ODE trajectory.
//   z^_0 ... z^_n: the teacher's states at times t_0 < ... < t_n = 1 (Euler, from noise);   for pairs i > j
//   | u(z^_i, t_j, t_i) - (z^_i - z^_j) / (t_i - t_j) |^2
// On one grid the network sees a finite set of times and is unconstrained between them: its time derivative, which MeanFlow's target
// needs next, is arbitrary. With `jitter` the grid moves from step to step and covers all times.
// The target is data and contains neither a derivative nor the network itself, so it starts MeanFlow stably. It needs labels but no
// images.
#pragma once

#include "flowmap/compat.h"
#include "flowmap/objective/entry.h"
#include "flowmap/sampler.h"

namespace fm {

struct CmtConfig {
  std::int64_t points = 16;              // of the teacher's grid: one call fewer
  double shift = 0;                      // alpha of the grid; 0: by the dimension
  std::int64_t pairs = 64;               // random pairs of each trajectory, out of points (points-1) / 2
  double jitter = 0;
  std::string solver = "euler";
  LabelDropout labels;
  MetricConfig metric;
  Compat compat;
  template <class V> void visit(V&& v) {
    v("points", points, "points of the teacher's time grid; a trajectory takes one network call fewer", range(2, 10000));
    v("shift", shift, "factor alpha of the grid's time shift; 0: max(1, sqrt(dim / 4096))", at_least(0));
    v("pairs", pairs, "training pairs from each trajectory, drawn with replacement", range(1, 65536));
    v("jitter", jitter,
      "largest random shift of the grid's inner points, as a share of the distance between points, drawn anew at each training step; 0: one "
      "fixed grid, as published",
      range(0, 1));
    v("solver", solver, "solver of the teacher's ODE", one_of({"euler", "heun"}));
    v("labels", labels, "label dropout");
    v("metric", metric, "metric from residual to loss");
    v("compat", compat, "departures of the released code from the paper");
  }

  static constexpr std::string_view name = "cmt", says = "jumps along a teacher's trajectory (consistency mid-training); needs no data";
  Needs needs() const;
  Claims claims() const;
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
};

struct Trajectories {
  std::vector<Tensor> states;            // by falling time: states[0] is the noise, each (B, ...)
  Grid times;                            // times of the states, descending; the times that the student receives (compat.cmt_time_labels)
  Labels y;                              // after dropout: teacher and student share them
  Draws draws;
};

// Computes the teacher's trajectories from noise of shape (draws.rows(), row_shape...). One batch of trajectories can be used by several cmt() calls.
Trajectories roll_out(const VelocityNet& teacher, const Shape& row_shape, const Labels& y, const Draws& draws, const CmtConfig& config,
                      DType dtype = DType::f32);

// Pairs of their states: where the student starts, and the velocity that its jump from t to s should have.
struct CmtBatch {
  Tensor z, target;                      // (trajectories x pairs, ...)
  Tensor s, t;
  Labels y;
};
CmtBatch draw_jumps(const Trajectories& trajectories, const CmtConfig& config, std::uint32_t round = 0);
ObjectiveLoss cmt(const FlowMapNet& net, const CmtBatch& batch, const CmtConfig& config);

// Both. `round` numbers the calls that use the same trajectories, so that each draws other pairs. Rows of the loss: trajectories x pairs.
ObjectiveLoss cmt(const FlowMapNet& net, const Trajectories& trajectories, const CmtConfig& config, std::uint32_t round = 0);

}  // namespace fm
