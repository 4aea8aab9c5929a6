// The single plots of a plane report (plane.h), and the exact flow for comparison.
#pragma once

#include <vector>

#include "data/report/svg_heat.h"
#include "flowmap/training/plane.h"

namespace fm {

// The exact flow of a known distribution from noise at t = 1. Without labels, rows follow the flow of the whole mixture. With labels, a row with label y
// follows the flow of component y.
class ExactFlow {
 public:
  explicit ExactFlow(GaussianMixture mixture) : mixture_(std::move(mixture)) {}
  // f_{1->s}(noise), of noise's type and on its device, computed in f64 on the CPU. noise (n, 2), y (n) or undefined. ConfigError for a label
  // without a component.
  Tensor map(const Tensor& noise, const Labels& y, double s = 0) const;

 private:
  GaussianMixture mixture_;
};

// Plots test points and samples together. The range is that of the test points with a margin.
Figure sample_figure(const Tensor& test, const Tensor& samples, const PlaneGenerator& generator, const PlaneScore& score);

// The trajectories from points of noise (k, 2). trajectory_figure() plots them with one call of the map from each point, on pale test points.
struct PlanePaths {
  std::string flow;                      // describes the trajectories: "the exact flow"
  std::vector<Tensor> states;            // (k, 2) each, noise first
};
PlanePaths plane_trajectories(const PlaneRun& run, const PlaneMap& map, const Tensor& noise, const Labels& y);
Figure trajectory_figure(const PlaneRun& run, const PlaneMap& map, const Tensor& noise, const Labels& y);

// Plots u(z, s, t) as arrows. With labels, all arrows are for the label of the first test point, which the caption names.
Figure field_figure(const PlaneRun& run, const PlaneMap& map, double s, double t);

// |f(e) - f*(e)|^2 for noise e at the center of each cell, where f is one call of the map and f* the exact flow. Labels as in field_figure.
Tensor exact_ends(const PlaneRun& run);                                     // where the exact flow takes the noise of each cell of the plot below; all maps are compared with it
HeatPlot error_plot(const PlaneRun& run, const PlaneMap& map, const Tensor& exact);
Figure error_figure(const PlaneRun& run, const PlaneMap& map, const Tensor& exact);

// The ranges of plots. data_frame: the test points with a margin. noise_frame: [-3, 3]^2, extended to contain the test points.
PlaneFrame data_frame(const Tensor& test);
PlaneFrame noise_frame(const Tensor& test);

}  // namespace fm
