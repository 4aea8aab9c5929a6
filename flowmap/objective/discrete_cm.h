// Discrete consistency: from two neighboring times r < t of one trajectory, jumps to s = 0 must end at the same place.
//   weight | f_{t->0}(z_t) - sg f-_{r->0}(z_r) |^2                  f-: the network with averaged or with its own weights
//   ct, ict   z_r = z_t - (t-r) w, with w = eps - z0 the point of the same data and noise                     (Song et al. 2023; Song and Dhariwal 2023)
//   cd        z_r = one step of a solver on the teacher's velocity                                            (Song et al. 2023)
// (t, r) are neighbors on a grid of N points, equally spaced in sigma^(1/rho) with sigma = t/(1-t), and N grows during a training. The residual is
// SoFlow's times t, with s = 0 and a = (t-r)/t. So with w = eps - z0 the minimum has an error of O(t-r).
//
// u(z, s, t) is trained at s = 0 alone, so a sampler of several calls must add noise between them. The grid's last t is below 1.
// sigma is in units of the data's deviation, so numbers published for a deviation of 1/2 are doubled here: .002 and 80 became .004 and 160, -1.1 became
// -1.1 + ln 2, and the default c of ict's metric is .00108 sqrt(D). Published distances are LPIPS (ct, cd) and pseudo-Huber (ict); here the setting
// `metric` chooses the distance. The teacher's solver steps in t; the published code steps in sigma.
#pragma once

#include "flowmap/objective/entry.h"
#include "flowmap/sampler.h"

namespace fm {

inline Tensor sigma_of(const Tensor& t) { return t / (1.0 - t); }                // deviation of the noise if the data have weight 1
inline Tensor time_of(const Tensor& sigma) { return sigma / (1.0 + sigma); }
// Computed in f64, with times kept away from 0 and 1, where sigma or its gap is 0 or infinite.
inline Tensor finite_sigma_of(const Tensor& t) { return sigma_of(clamp(t.to(DType::f64), 1e-9, 1 - 1e-9)); }

// The common settings of ct, ict and cd.
struct DiscreteCmConfig {
  double sigma_min = 0.004, sigma_max = 160, rho = 7;
  std::string growth = "root";
  std::int64_t first_points = 2, last_points = 151;
  std::string index = "uniform";
  double mean = -0.407, deviation = 2;
  std::string weight = "uniform";
  double target_decay = 0;
  LabelDropout labels;
  MetricConfig metric;
  template <class V> void visit(V&& v) {
    v("sigma_min", sigma_min, "first point of the grid, as sigma = t / (1 - t), noise over data", above(0));
    v("sigma_max", sigma_max, "last point of the grid, as sigma = t / (1 - t), noise over data", above(0));
    v("rho", rho, "exponent rho of the grid, whose points are evenly spaced in sigma^(1/rho)", range(1, 100));
    v("growth", growth, "growth of the number of points N: N^2 grows linearly with the step (root), or N - 1 doubles at equal intervals (doubling)",
      one_of({"root", "doubling"}));
    v("first_points", first_points, "number of grid points at the beginning", range(2, 1e6));
    v("last_points", last_points, "number of grid points at the end; no growth if it equals first_points", range(2, 1e6));
    v("index", index, "distribution of the drawn grid points: equally likely (uniform), or normal in log sigma (log_normal)", one_of({"uniform", "log_normal"}));
    v("mean", mean, "mean of log sigma, for index log_normal");
    v("deviation", deviation, "standard deviation of log sigma, for index log_normal", above(0));
    v("weight", weight, "weight of a row: 1 (uniform), or 1 / (difference of the two sigmas) (gap)", one_of({"uniform", "gap"}));
    v("target_decay", target_decay, "decay of the averaged weights that targets come from; 0: the network's own weights", range(0, 0.999999));
    v("labels", labels, "label dropout");
    v("metric", metric, "metric from residual to loss");
  }

  std::int64_t points(const TrainingStep& now) const;                            // N
  std::vector<double> grid(std::int64_t points) const;                           // rising times
  Needs needs() const;
  Claims claims() const;
  Drawn complete(PathBatch p, const TrainingStep& now) const;                    // adds "r" and "weight"; t need not be on the grid
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
  std::string not_recorded(const std::string& keys) const;
  void check(const std::string& keys, std::int64_t steps) const;                 // ConfigError if sigma_min >= sigma_max or first_points > last_points
};

struct CtConfig : DiscreteCmConfig {
  CtConfig() { target_decay = 0.9; }
  static constexpr std::string_view name = "ct", says = "consistency training: neighboring points on the path of one sample and one noise jump to the same place";
  double target_decay_at(const TrainingStep& now) const;                         // target_decay^(first_points / N)
};

struct IctConfig : DiscreteCmConfig {
  IctConfig() { growth = "doubling", first_points = 11, last_points = 1281, index = "log_normal", weight = "gap"; }
  static constexpr std::string_view name = "ict", says = "improved consistency training: a finer grid, times log-normal in sigma, targets by the network itself";
  static IctConfig published();                                                  // with its pseudo-Huber distance
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
};

struct CdConfig : DiscreteCmConfig {
  std::string solver = "heun";
  CdConfig() { first_points = last_points = 18, target_decay = 0.95; }
  template <class V> void visit(V&& v) {
    DiscreteCmConfig::visit(v);
    v("solver", solver, "solver of the teacher's step to the neighboring point", ChoiceRule{solver_names()});
  }
  static constexpr std::string_view name = "cd", says = "consistency distillation: neighboring points of a teacher's trajectory jump to the same place";
  Needs needs() const;
  Claims claims() const;
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
};

// The loss weight |f_{t->0}(z_t) - sg f_{r->0}(z_r)|^2 at points with s = 0. z_r is `earlier`; r and weight are in `drawn`. nets.target makes the targets, or
// nets.net if nets.target is empty.
ObjectiveLoss consistency_loss(const Nets& nets, const Drawn& drawn, const Tensor& earlier, const MetricConfig& metric);
// The same with z_r = z_t - (t-r) w.
ObjectiveLoss consistency_loss(const Nets& nets, const Drawn& drawn, const MetricConfig& metric);

}  // namespace fm
