// The single plots of a plane report (plane.h), and the exact flow for comparison.
#pragma once

#include <vector>

#include "data/report/svg_heat.h"
#include "flowmap/training/plane.h"

namespace fm {

// The flow of a known distribution from noise, t = 1: of the whole mixture, or with labels of component y for a row with label y.
class ExactFlow {
 public:
  explicit ExactFlow(GaussianMixture mixture) : mixture_(std::move(mixture)) {}
  // f_{1->s}(noise), of noise's type and on its device, computed in f64 on the CPU. noise (n, 2), y (n) or undefined. ConfigError for a label
  // without a component.
  Tensor map(const Tensor& noise, const Labels& y, double s = 0) const;

 private:
  GaussianMixture mixture_;
};

// Test points and samples in one range, that of the test points and a little more.
Figure sample_figure(const Tensor& test, const Tensor& samples, const PlaneGenerator& generator, const PlaneScore& score);

// The flow from each noise (k, 2) and where one call of the map takes it, on pale test points. `flow` names the trajectories.
struct PlanePaths {
  std::string flow;
  std::vector<Tensor> states;            // (k, 2) each, noise first
};
PlanePaths plane_trajectories(const PlaneRun& run, const PlaneMap& map, const Tensor& noise, const Labels& y);
Figure trajectory_figure(const PlaneRun& run, const PlaneMap& map, const Tensor& noise, const Labels& y);

// u(z, s, t) as arrows. With labels all arrows have the label of the first test point, which the caption names.
Figure field_figure(const PlaneRun& run, const PlaneMap& map, double s, double t);

// |f(e) - f*(e)|^2 for noise e at the center of each cell, f one call of the map and f* the exact flow; labels as for field_figure.
HeatPlot error_plot(const PlaneRun& run, const PlaneMap& map, const ExactFlow& exact);
Figure error_figure(const PlaneRun& run, const PlaneMap& map, const ExactFlow& exact);

// The ranges of plots: the test points with a margin, and [-3, 3]^2 extended to the test points.
PlaneFrame data_frame(const Tensor& test);
PlaneFrame noise_frame(const Tensor& test);

}  // namespace fm
