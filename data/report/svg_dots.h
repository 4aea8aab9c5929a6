// Dot plots as SVG text: one row per name, one dot per measurement, and a bar at their mean. They compare variants with few repetitions each.
#pragma once

#include <string>
#include <vector>

namespace fm {

struct DotRow {
  std::string name;
  std::vector<double> values;  // values that are not finite (or not positive on a log axis) are left out
};

struct DotPlot {
  std::string title, x_label;
  std::vector<DotRow> rows;
  bool log_x = false;          // also set where needs_log_axis (svg_plot.h) says so of the values
  int width = 720;  // of the view box; the height follows from the number of rows
};

// The plot with axis, grid and a tooltip on each dot. A row without a valid value shows "-".
std::string svg_dots(const DotPlot& plot);

}  // namespace fm
