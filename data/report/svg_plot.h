// Line plots as SVG text for an HTML page (colors follow the page's text color).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fm {

// A shaded range around a curve, one pair of values for each of its points.
struct CurveBand {
  std::vector<double> low, high;
};

struct Curve {
  std::string name;
  std::vector<double> x, y;  // the same length; points that are not finite (or not positive on a log axis) are gaps
  bool dashed = false;
  bool markers = false;  // a dot at each point, for few points
  std::vector<CurveBand> bands = {};  // the widest first: its ends are in the tooltips
};

struct Plot {
  std::string title, x_label, y_label;
  std::vector<Curve> curves;
  bool log_x = false, log_y = false;
  double y_low = 0, y_high = 0;  // the visible part of the axis; points outside are gaps. If low = high, the axis is fitted to the curves
  int width = 720, height = 360;  // of the view box; the plot scales with the page
};

// The plot with axes, grid, legend (two curves or more) and a tooltip on its points. The labels of logarithmic axes end with ", log scale".
std::string svg_plot(const Plot& plot);

// "loss" or, for a logarithmic axis, "loss, log scale".
std::string axis_label(const std::string& label, bool log_scale);

// Whether values from low to high need a logarithmic axis: all are positive, and the largest is more than 30 times the smallest.
bool needs_log_axis(double low, double high);

// Half the axis of curves with one constant value v: the axis is from v/2 to 3v/2, or from -0.5 to 0.5 for v = 0. A small constant then differs from 0.
double flat_margin(double value);

// Round numbers that divide [low, high] into about `count` parts: multiples of 1, 2 or 5 times a power of ten; on a log axis powers of
// ten, with 2 and 5 between them if there are few.
std::vector<double> axis_ticks(double low, double high, int count, bool log_scale);

}  // namespace fm
