// The common frame of plots of the plane: a square scale, ticks, labels, a clipped area for marks, a legend and notes below it. The view
// box is 400 wide, so that letters of 12 px stay readable where the plot is as narrow as a telephone.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fm {

struct PlaneFrame {
  std::string title, x_label = "x", y_label = "y";
  double x_low = 0, x_high = 0, y_low = 0, y_high = 0;  // the visible range; if low = high, the range is fitted to the marks
};

// Colors of marks, readable on a light and on a dark background: Okabe and Ito's, the blue one a little brighter.
inline constexpr const char* plane_blue = "#2b8ccf";
inline constexpr const char* plane_orange = "#d55e00";
inline constexpr const char* plane_colours[] = {plane_blue, plane_orange, "#009e73", "#cc79a7", "#e69f00", "#56b4e9"};

class Plane {
 public:
  // `xs` and `ys`, the coordinates of all marks, decide the range if the frame leaves it open; coordinates that are not finite are ignored.
  Plane(const PlaneFrame& frame, const std::vector<double>& xs, const std::vector<double>& ys);

  double x(double value) const { return (value - x_low_) * scale_; }   // pixels inside the area
  double y(double value) const { return height_ - (value - y_low_) * scale_; }
  double scale() const { return scale_; }                              // pixels per unit, the same in both directions
  double width() const { return width_; }
  double height() const { return height_; }
  bool shows(double x, double y) const;                                // whether the point is finite and in the range
  double x_low() const { return x_low_; }
  double y_low() const { return y_low_; }

  void mark(std::string_view svg) { marks_ += svg; }                   // in pixels of the area, which clips the parts outside
  // A mark of 22 x 12 pixels around (0, 0), and its name.
  void legend(std::string mark, std::string name) { legend_.push_back({std::move(mark), std::move(name)}); }
  void note(std::string text) { notes_.push_back(std::move(text)); }
  void below(std::string svg, double height);                          // a separate graphic (a color bar) under the axis

  std::string svg() const;

 private:
  struct Entry {
    std::string mark, name;
  };
  std::string axes() const;
  PlaneFrame frame_;
  double x_low_, y_low_, x_high_, y_high_, scale_, width_, height_;
  std::string marks_, below_;
  double below_height_ = 0;
  std::vector<Entry> legend_;
  std::vector<std::string> notes_;
};

// A coordinate in pixels as text, with at most one decimal: "83.4".
std::string pixels(double value);

// A plot of svg_plane.h, svg_plot.h, svg_heat.h or svg_dots.h as a standalone file, with the page's colors for light and dark.
std::string standalone_svg(const std::string& svg);

}  // namespace fm
