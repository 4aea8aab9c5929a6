// Pictures of a flow in the plane, as SVG text to stand inside an HTML page: samples against data, trajectories with the chord that one call
// takes, and a field of velocities. They take plain numbers; nothing here computes a flow.
#pragma once

#include <string>
#include <vector>

#include "data/report/plane.h"

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

// A trajectory from noise to data, and where one call of the flow map takes its first point: the two ends agree where the map is exact.
struct FlowPath {
  std::vector<double> x, y;            // states, noise first; at least one
  double chord_x = 0, chord_y = 0;
};
struct PathPlot {
  PlaneFrame frame;
  PointGroup behind;                   // points of the data, pale; may be empty
  std::vector<FlowPath> paths;
};

// An arrow from each point (x, y) along (u, v). The longest is as long as two neighbours are apart; the legend has one of a round length.
struct ArrowPlot {
  PlaneFrame frame;
  std::string quantity = "u";          // what the arrows are, with its unit where it has one
  std::vector<double> x, y, u, v;      // the same length
};

// Each throws ShapeError when lists that belong together have unequal lengths. Marks that are not finite or lie outside a given range are left
// out, and a note below the picture counts them; of a group with more than 2,000 points the first 2,000 are shown, which the legend says.
std::string svg_scatter(const ScatterPlot& plot);
std::string svg_paths(const PathPlot& plot);
std::string svg_arrows(const ArrowPlot& plot);

}  // namespace fm
