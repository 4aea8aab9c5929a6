#include "data/report/svg_plane.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace fm {
namespace {

constexpr std::size_t most_dots = 2000;        // per group: 25 KB of text

void same_length(const char* picture, std::size_t a, std::size_t b, const std::string& what) {
  if (a != b) throw ShapeError(fmt::format("{}: {} have {} and {} numbers: the lengths must be equal", picture, what, a, b));
}

// Draws all dots as one path: a line of length 0 with round ends is a dot.
std::string dots(const Plane& plane, const PointGroup& group, std::size_t count, std::string_view colour, double size, double opacity) {
  std::string path;
  for (std::size_t i = 0; i < count; ++i)
    if (plane.shows(group.x[i], group.y[i])) path += fmt::format("M{} {}h0", pixels(plane.x(group.x[i])), pixels(plane.y(group.y[i])));
  return fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-opacity=\"{}\" stroke-width=\"{}\" stroke-linecap=\"round\"/>\n", path, colour, opacity,
                     size);
}

std::string dot(std::string_view colour, double radius) { return fmt::format("<circle r=\"{}\" fill=\"{}\"/>", radius, colour); }

void append(std::vector<double>& all, const std::vector<double>& more) { all.insert(all.end(), more.begin(), more.end()); }

void count_hidden(Plane& plane, std::size_t hidden, const char* what) {
  if (hidden > 0) plane.note(fmt::format("{} {} not finite, or outside of the plot", hidden, what));
}

std::size_t hidden_dots(const Plane& plane, const PointGroup& group) {
  std::size_t hidden = 0;
  for (std::size_t i = 0; i < group.x.size(); ++i) hidden += plane.shows(group.x[i], group.y[i]) ? 0 : 1;
  return hidden;
}

std::string name_of(const PointGroup& group) {
  return group.x.size() > most_dots ? fmt::format("{} ({} of {})", group.name, most_dots, group.x.size()) : group.name;
}

// 1, 2 or 5 times a power of ten, the largest not above x.
double round_below(double x) {
  const double power = std::pow(10.0, std::floor(std::log10(x))), part = x / power;
  return power * (part >= 5 ? 5 : part >= 2 ? 2 : 1);
}

// From (0, 0) along (dx, dy) in pixels, y downwards. The head has 5 pixels, or a third of a short arrow.
std::string arrow(double x, double y, double dx, double dy) {
  const double length = std::hypot(dx, dy), head = std::min(5.0, length / 3);
  if (length < 0.3) return fmt::format("M{} {}h0", pixels(x), pixels(y));
  const double ux = dx / length, uy = dy / length, end_x = x + dx, end_y = y + dy;
  const auto side = [&](double turn) {
    return fmt::format("L{} {}", pixels(end_x - head * (ux + turn * 0.6 * uy)), pixels(end_y - head * (uy - turn * 0.6 * ux)));
  };
  return fmt::format("M{} {}L{} {}{}M{} {}{}", pixels(x), pixels(y), pixels(end_x), pixels(end_y), side(1), pixels(end_x), pixels(end_y), side(-1));
}

std::string arrows_path(const std::string& path) {
  return fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.4\" stroke-linecap=\"round\"/>\n", path, plane_blue);
}

}  // namespace

std::string svg_scatter(const ScatterPlot& plot) {
  std::vector<double> xs, ys;
  for (const PointGroup& group : plot.groups) {
    same_length("svg_scatter", group.x.size(), group.y.size(), "x and y of '" + group.name + "'");
    append(xs, group.x), append(ys, group.y);
  }
  Plane plane(plot.frame, xs, ys);
  std::size_t hidden = 0;
  for (std::size_t i = 0; i < plot.groups.size(); ++i) {
    const PointGroup& group = plot.groups[i];
    const char* colour = plane_colours[i % std::size(plane_colours)];
    plane.mark(dots(plane, group, std::min(most_dots, group.x.size()), colour, group.x.size() > 400 ? 2.4 : 4, 0.6));
    plane.legend(dot(colour, 4), name_of(group));
    hidden += hidden_dots(plane, group);
  }
  count_hidden(plane, hidden, "points are");
  return plane.svg();
}

std::string svg_paths(const PathPlot& plot) {
  same_length("svg_paths", plot.behind.x.size(), plot.behind.y.size(), "x and y of '" + plot.behind.name + "'");
  std::vector<double> xs = plot.behind.x, ys = plot.behind.y;
  for (const FlowPath& path : plot.paths) {
    same_length("svg_paths", path.x.size(), path.y.size(), "x and y of a path");
    if (path.x.empty()) throw ShapeError("svg_paths: a path without points");
    append(xs, path.x), append(ys, path.y);
    xs.push_back(path.chord_x), ys.push_back(path.chord_y);
  }
  Plane plane(plot.frame, xs, ys);
  std::size_t hidden = hidden_dots(plane, plot.behind);
  plane.mark(dots(plane, plot.behind, std::min(most_dots, plot.behind.x.size()), plane_blue, 2.4, 0.35));
  std::string flows, starts, chords, landings, ends;
  for (const FlowPath& path : plot.paths) {
    bool pen_down = false;
    for (std::size_t i = 0; i < path.x.size(); ++i) {
      const bool known = std::isfinite(path.x[i]) && std::isfinite(path.y[i]);
      if (known) flows += fmt::format("{}{} {}", pen_down ? "L" : "M", pixels(plane.x(path.x[i])), pixels(plane.y(path.y[i])));
      pen_down = known;
    }
    const double x0 = path.x.front(), y0 = path.y.front(), x1 = path.x.back(), y1 = path.y.back();
    if (!plane.shows(x0, y0) || !plane.shows(x1, y1) || !plane.shows(path.chord_x, path.chord_y)) ++hidden;
    if (plane.shows(x0, y0)) starts += fmt::format("<circle class=\"ink\" cx=\"{}\" cy=\"{}\" r=\"2.6\" fill=\"none\"/>", pixels(plane.x(x0)), pixels(plane.y(y0)));
    if (plane.shows(x1, y1)) ends += fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"2.8\" fill=\"{}\"/>", pixels(plane.x(x1)), pixels(plane.y(y1)), plane_blue);
    if (!plane.shows(x0, y0) || !std::isfinite(path.chord_x) || !std::isfinite(path.chord_y)) continue;
    const std::string to = fmt::format("{} {}", pixels(plane.x(path.chord_x)), pixels(plane.y(path.chord_y)));
    chords += fmt::format("M{} {}L{}", pixels(plane.x(x0)), pixels(plane.y(y0)), to);
    landings += "M" + to + "m-3.5 -3.5l7 7m0 -7l-7 7";
  }
  const std::string dashed = fmt::format("fill=\"none\" stroke=\"{}\" stroke-width=\"1.3\" stroke-dasharray=\"4 3\"", plane_orange);
  const std::string cross = fmt::format("fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\"", plane_orange);
  plane.mark(fmt::format("<path class=\"ink\" d=\"{}\" fill=\"none\" stroke-opacity=\"0.65\" stroke-width=\"1.2\"/>\n<path d=\"{}\" {}/>\n", flows, chords, dashed));
  plane.mark(starts + ends + fmt::format("<path d=\"{}\" {}/>\n", landings, cross));
  plane.legend("<circle class=\"ink\" r=\"3\" fill=\"none\"/>", "noise, t = 1");
  plane.legend("<path class=\"ink\" d=\"M-10 0H10\" fill=\"none\" stroke-opacity=\"0.65\" stroke-width=\"1.4\"/>", "trajectory");
  plane.legend(dot(plane_blue, 3.5), "its end, t = 0");
  plane.legend(fmt::format("<path d=\"M-10 0H6\" {}/><path d=\"M2.5 -3.5l7 7m0 -7l-7 7\" {}/>", dashed, cross), "one call");
  if (!plot.behind.x.empty()) plane.legend(fmt::format("<circle r=\"3.5\" fill=\"{}\" fill-opacity=\"0.45\"/>", plane_blue), name_of(plot.behind));
  count_hidden(plane, hidden, "points or paths are");
  return plane.svg();
}

std::string svg_arrows(const ArrowPlot& plot) {
  same_length("svg_arrows", plot.x.size(), plot.y.size(), "x and y");
  same_length("svg_arrows", plot.x.size(), plot.u.size(), "x and u");
  same_length("svg_arrows", plot.x.size(), plot.v.size(), "x and v");
  Plane plane(plot.frame, plot.x, plot.y);
  double longest = 0;
  std::size_t shown = 0;
  const auto drawn = [&](std::size_t i) { return plane.shows(plot.x[i], plot.y[i]) && std::isfinite(plot.u[i]) && std::isfinite(plot.v[i]); };
  for (std::size_t i = 0; i < plot.x.size(); ++i)
    if (drawn(i)) longest = std::max(longest, std::hypot(plot.u[i], plot.v[i])), ++shown;
  const double apart = shown > 0 ? std::sqrt(plane.width() * plane.height() / static_cast<double>(shown)) : 0;
  const double pixels_a_unit = longest > 0 ? apart / longest : 0;
  std::string path;
  for (std::size_t i = 0; i < plot.x.size(); ++i)
    if (drawn(i)) path += arrow(plane.x(plot.x[i]), plane.y(plot.y[i]), pixels_a_unit * plot.u[i], -pixels_a_unit * plot.v[i]);
  plane.mark(arrows_path(path));
  if (longest > 0) {
    const double length = round_below(std::min(longest, 22 / pixels_a_unit));
    plane.legend(arrows_path(arrow(-pixels_a_unit * length / 2, 0, pixels_a_unit * length, 0)), fmt::format("|{}| = {:.3g}", plot.quantity, length));
    plane.note(fmt::format("longest arrow: {:.3g}", longest));
  }
  count_hidden(plane, plot.x.size() - shown, "arrows are");
  return plane.svg();
}

namespace {

// Both coordinates of points (n, 2).
std::pair<std::vector<double>, std::vector<double>> coordinates(const Tensor& points, std::int64_t wanted, const char* what) {
  if (points.rank() != 2 || points.dim(1) != 2 || (wanted >= 0 && points.dim(0) != wanted))
    throw ShapeError(fmt::format("{} have the shape {}; they must be points (n, 2){}", what, to_string(points.shape()), wanted >= 0 ? fmt::format(" with n = {}", wanted) : ""));
  return {points.select(1, 0).to_vector<double>(), points.select(1, 1).to_vector<double>()};
}

}  // namespace

PointGroup point_group(std::string name, const Tensor& points) {
  auto [x, y] = coordinates(points, -1, name.c_str());
  return {std::move(name), std::move(x), std::move(y)};
}

std::vector<FlowPath> flow_paths(const std::vector<Tensor>& states, const Tensor& landings) {
  const auto ends = coordinates(landings, -1, "landings");
  std::vector<FlowPath> paths(ends.first.size());
  for (const Tensor& state : states) {
    const auto at = coordinates(state, landings.dim(0), "states");
    for (std::size_t i = 0; i < paths.size(); ++i) paths[i].x.push_back(at.first[i]), paths[i].y.push_back(at.second[i]);
  }
  for (std::size_t i = 0; i < paths.size(); ++i) paths[i].chord_x = ends.first[i], paths[i].chord_y = ends.second[i];
  return paths;
}

ArrowPlot arrow_plot(const PlaneFrame& frame, std::string quantity, const Tensor& points, const Tensor& arrows) {
  auto [x, y] = coordinates(points, -1, "points");
  auto [u, v] = coordinates(arrows, points.dim(0), "arrows");
  return {frame, std::move(quantity), std::move(x), std::move(y), std::move(u), std::move(v)};
}

Tensor cell_centres(const PlaneFrame& frame, std::int64_t columns, std::int64_t rows) {
  std::vector<float> values;
  const auto middle = [](double low, double high, std::int64_t i, std::int64_t n) {
    return static_cast<float>(low + (high - low) * (static_cast<double>(i) + 0.5) / static_cast<double>(n));
  };
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t column = 0; column < columns; ++column) {
      values.push_back(middle(frame.x_low, frame.x_high, column, columns));
      values.push_back(middle(frame.y_low, frame.y_high, row, rows));
    }
  return Tensor::from(values, {rows * columns, 2});
}

}  // namespace fm
