// Plots of a flow in the plane, as SVG text for an HTML page: samples against data, trajectories with the chord of one call,
// and a field of velocities. They take plain numbers, or tensors of points (n, 2), and compute no flow.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/report/plane.h"
#include "tensor/tensor.h"

namespace fm {

struct PointGroup {
  std::string name;
  std::vector<double> x, y;  // the same length
};

// Dots; later groups lie on earlier ones.
struct ScatterPlot {
  PlaneFrame frame;
  std::vector<PointGroup> groups;
};

// A trajectory from noise to data, and the point to which one call of the flow map takes its start. Both ends agree if the map is exact.
struct FlowPath {
  std::vector<double> x, y;            // states, noise first; at least one
  double chord_x = 0, chord_y = 0;
};
struct PathPlot {
  PlaneFrame frame;
  PointGroup behind;                   // points of the data, pale; may be empty
  std::vector<FlowPath> paths;
};

// An arrow from each point (x, y) along (u, v). The longest arrow is as long as the distance of two neighbors; the legend shows one of a round length.
struct ArrowPlot {
  PlaneFrame frame;
  std::string quantity = "u";          // the quantity of the arrows, with its unit if it has one
  std::vector<double> x, y, u, v;      // the same length
};

// Each throws ShapeError if corresponding lists have unequal lengths. Marks that are not finite or lie outside a given range are left
// out, and a note below the plot counts them. Of a group with more than 2,000 points the first 2,000 are shown, as noted in the legend.
std::string svg_scatter(const ScatterPlot& plot);
std::string svg_paths(const PathPlot& plot);
std::string svg_arrows(const ArrowPlot& plot);

// Make the inputs above from tensors of points (n, 2), of any type and on any device. ShapeError for other shapes and unequal numbers of points.
PointGroup point_group(std::string name, const Tensor& points);
std::vector<FlowPath> flow_paths(const std::vector<Tensor>& states, const Tensor& landings);    // states noise first, as trajectory() gives them
ArrowPlot arrow_plot(const PlaneFrame& frame, std::string quantity, const Tensor& points, const Tensor& arrows);

// The centers of columns x rows equal cells of the frame's range, row by row from the lower left: (rows * columns, 2) f32. At these points a
// field is evaluated for svg_arrows or svg_heat.
Tensor cell_centres(const PlaneFrame& frame, std::int64_t columns, std::int64_t rows);

}  // namespace fm
