// A number for each place of the plane, as colours: the error of a flow map by noise, a density.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/report/plane.h"

namespace fm {

struct HeatPlot {
  PlaneFrame frame;                    // with its range, low < high on both axes: the cells divide it equally
  std::int64_t columns = 0, rows = 0;
  std::vector<double> values;          // (rows, columns), row 0 at y_low, column 0 at x_low
  std::string quantity;                // what the colours are, with its unit where it has one
  bool log_scale = false;              // colours by the logarithm, over at most six powers of ten below the largest
};

// Dark is low and bright is high. Cells that are not finite (or not positive on a logarithmic scale) stay empty, and a note counts them.
// ShapeError unless there is a value a cell and the frame has a range.
std::string svg_heat(const HeatPlot& plot);

}  // namespace fm
