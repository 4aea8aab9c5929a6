// A number for each point of the plane, as colors: the error of a flow map for each noise, or a density.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/report/plane.h"

namespace fm {

struct HeatPlot {
  PlaneFrame frame;                    // needs a range, low < high on both axes; the cells divide it equally
  std::int64_t columns = 0, rows = 0;
  std::vector<double> values;          // (rows, columns), row 0 at y_low, column 0 at x_low
  std::string quantity;                // the quantity behind the colors, with its unit if it has one
  bool log_scale = false;              // colors by the logarithm, over at most six powers of ten below the largest
};

// Dark is low and bright is high. Cells that are not finite (or not positive on a logarithmic scale) stay empty, and a note counts them.
// ShapeError unless there is one value per cell and the frame has a range.
std::string svg_heat(const HeatPlot& plot);

}  // namespace fm
