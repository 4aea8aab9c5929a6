#include "data/report/svg_heat.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "data/report/html.h"
#include "data/report/svg_plot.h"
#include "tensor/error.h"

namespace fm {
namespace {

constexpr int levels = 64;               // number of colors

// Viridis (Smith and van der Walt 2015) at nine points: brightness rises evenly, also for color-blind readers.
constexpr std::array<std::array<double, 3>, 9> viridis = {
    {{68, 1, 84}, {71, 44, 122}, {59, 81, 139}, {44, 113, 142}, {33, 144, 141}, {39, 173, 129}, {92, 200, 99}, {170, 220, 50}, {253, 231, 37}}};

std::string colour(int level) {
  const double place = 8.0 * level / (levels - 1);
  const auto below = static_cast<std::size_t>(std::min(7.0, std::floor(place)));
  const double part = place - static_cast<double>(below);
  const auto channel = [&](std::size_t c) { return std::lround(viridis[below][c] + part * (viridis[below + 1][c] - viridis[below][c])); };
  return fmt::format("#{:02x}{:02x}{:02x}", channel(0), channel(1), channel(2));
}

// Maps values to 0 .. 1.
struct HeatScale {
  double low, high;
  bool log;
  bool knows(double v) const { return std::isfinite(v) && (!log || v > 0); }
  double part(double v) const {
    const double p = log ? std::log(v / low) / std::log(high / low) : (v - low) / (high - low);
    return std::clamp(p, 0.0, 1.0);
  }
};

HeatScale fitted(const HeatPlot& plot) {
  HeatScale scale{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(), plot.log_scale};
  for (const double v : plot.values)
    if (scale.knows(v)) scale.low = std::min(scale.low, v), scale.high = std::max(scale.high, v);
  if (!(scale.low <= scale.high)) return {plot.log_scale ? 0.1 : 0, 1, plot.log_scale};
  if (plot.log_scale) scale.low = std::max(scale.low, 1e-6 * scale.high);
  if (scale.low == scale.high) plot.log_scale ? scale.low /= 10 : scale.low -= flat_margin(scale.low);
  return scale;
}

std::string colour_bar(const HeatScale& scale, const std::string& quantity, double width) {
  std::string out;
  for (int i = 0; i < levels; ++i)
    out += fmt::format("<rect x=\"{}\" y=\"0\" width=\"{}\" height=\"10\" fill=\"{}\"/>", pixels(width * i / levels), pixels(width / levels + 0.6), colour(i));
  double last = -1e9;
  for (const double tick : axis_ticks(scale.low, scale.high, 4, scale.log)) {
    const double at = width * scale.part(tick);
    if (at - last < 34) continue;        // the numbers would touch
    last = at;
    out += fmt::format("<line class=\"ink\" x1=\"{0}\" x2=\"{0}\" y1=\"10\" y2=\"14\"/><text x=\"{0}\" y=\"26\" text-anchor=\"middle\">{1:.3g}</text>", pixels(at), tick);
  }
  return out + fmt::format("<text x=\"{}\" y=\"42\" text-anchor=\"middle\">{}</text>", pixels(width / 2), escape_html(quantity));
}

}  // namespace

std::string svg_heat(const HeatPlot& plot) {
  const PlaneFrame& f = plot.frame;
  if (plot.columns < 1 || plot.rows < 1 || static_cast<std::int64_t>(plot.values.size()) != plot.columns * plot.rows)
    throw ShapeError(fmt::format("svg_heat: {} values for {} rows of {} cells: needs one value for each cell", plot.values.size(), plot.rows, plot.columns));
  if (!(f.x_low < f.x_high) || !(f.y_low < f.y_high)) throw ShapeError("svg_heat: the frame has no range: x_low < x_high and y_low < y_high are needed");
  Plane plane(f, {}, {});
  const HeatScale scale = fitted(plot);
  const double cell_x = (f.x_high - f.x_low) / static_cast<double>(plot.columns), cell_y = (f.y_high - f.y_low) / static_cast<double>(plot.rows);
  std::vector<std::string> paths(levels);      // all cells of one color are one path
  std::int64_t empty = 0;
  for (std::int64_t row = 0; row < plot.rows; ++row)
    for (std::int64_t column = 0; column < plot.columns; ++column) {
      const double v = plot.values[static_cast<std::size_t>(row * plot.columns + column)];
      if (!scale.knows(v)) {
        ++empty;
        continue;
      }
      const auto level = static_cast<std::size_t>(std::lround(scale.part(v) * (levels - 1)));
      const double x = plane.x(f.x_low + cell_x * static_cast<double>(column)), y = plane.y(f.y_low + cell_y * static_cast<double>(row + 1));
      paths[level] += fmt::format("M{} {}h{}v{}h-{}z", pixels(x), pixels(y), pixels(cell_x * plane.scale() + 0.3), pixels(cell_y * plane.scale() + 0.3),
                                  pixels(cell_x * plane.scale() + 0.3));
    }
  for (int i = 0; i < levels; ++i)
    if (const std::string& path = paths[static_cast<std::size_t>(i)]; !path.empty())
      plane.mark(fmt::format("<path d=\"{}\" fill=\"{}\" shape-rendering=\"crispEdges\"/>\n", path, colour(i)));
  plane.below(colour_bar(scale, plot.quantity, plane.width()), 50);
  if (empty > 0) plane.note(fmt::format("{} of {} cells have no value to show", empty, plot.columns * plot.rows));
  return plane.svg();
}

}  // namespace fm
