// Pictures of the plane: text that parses, marks where they belong, one scale in both directions, and nothing left out without a word.
#include <doctest/doctest.h>

#include <cmath>
#include <regex>
#include <string>
#include <vector>

#include "data/report/html.h"
#include "data/report/svg_heat.h"
#include "data/report/svg_plane.h"
#include "tensor/error.h"
#include "tests/support/markup.h"
#include "tests/support/near.h"

using namespace fm;
using fm::test::count;
using fm::test::is_balanced;
using fm::test::near;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

void check_sound(const std::string& svg) {
  CHECK(is_balanced(svg));
  CHECK(has(svg, "viewBox=\"0 0 400 "));
  CHECK_FALSE(has(svg, "nan"));
  CHECK_FALSE(has(svg, "inf"));
  CHECK_FALSE(has(svg, "<script"));
  CHECK(count(svg, "http") == 1);        // the name of the SVG standard, nothing that is fetched
}

PlaneFrame frame() { return {.title = "a < b", .x_label = "z[0]", .y_label = "z[1]", .x_low = -2, .x_high = 2, .y_low = -1, .y_high = 1}; }

}  // namespace

TEST_CASE("a range decides the scale; y grows upwards; both directions have one scale") {
  const Plane plane(frame(), {}, {});
  CHECK(plane.x(-2) == 0);
  CHECK(near(plane.x(2), plane.width(), 1e-12));
  CHECK(near(plane.y(-1), plane.height(), 1e-12));
  CHECK(near(plane.height(), plane.width() / 2, 1e-12));
  CHECK(near(plane.x(1) - plane.x(0), plane.y(0) - plane.y(1), 1e-12));
  CHECK(plane.shows(2, 1));
  CHECK_FALSE(plane.shows(2.01, 0));
  CHECK_FALSE(plane.shows(NAN, 0));
  const Plane fitted({}, {0, 10, NAN}, {0, 10});
  CHECK(fitted.shows(0, 10));
  CHECK(near(fitted.x(10) - fitted.x(0), fitted.width() / 1.08, 1e-12));
  const Plane wide({}, {0, 100}, {0, 1}), high({}, {0, 1}, {0, 100});          // neither a line nor a tower
  CHECK(near(wide.height(), 0.45 * wide.width(), 1e-12));
  CHECK(near(high.height(), 1.25 * high.width(), 1e-12));
  CHECK(wide.shows(0, 0));
  CHECK(high.shows(1, 100));
}

TEST_CASE("a scatter has its dots, names and labels, and says what it leaves out") {
  const std::string svg = svg_scatter({frame(), {{"data & more", {0, -2, 5}, {0, -1, 0}}, {"samples", {1, NAN}, {0.5, 0}}}});
  check_sound(svg);
  CHECK(has(svg, "a &lt; b"));
  CHECK(has(svg, ">data &amp; more</text>"));
  CHECK(has(svg, ">z[0]</text>"));
  CHECK(has(svg, ">z[1]</text>"));
  CHECK(has(svg, "d=\"M168 84h0M0 168h0\""));            // the middle and the lower left corner of 336 x 168 pixels
  CHECK(has(svg, "d=\"M252 42h0\""));
  CHECK(has(svg, "2 points are not finite, or outside of the picture"));
  PointGroup many{"many", {}, {}};
  for (int i = 0; i < 5000; ++i) many.x.push_back(std::sin(i)), many.y.push_back(std::cos(i * 1.3));
  const std::string full = svg_scatter({{}, {many}});
  check_sound(full);
  CHECK(has(full, "many (2000 of 5000)"));
  CHECK(count(full, "h0") == 2000);
  CHECK(full.size() < 40000);
  CHECK_FALSE(has(full, "not finite"));
  CHECK_THROWS_WITH_AS(svg_scatter({{}, {{"a", {1, 2}, {1}}}}), "svg_scatter: x and y of 'a' have 2 and 1 numbers, which must be as many", ShapeError);
}

TEST_CASE("trajectories begin with a ring, end with a dot, and have the chord of one call") {
  const std::string svg = svg_paths({frame(), {"data", {0}, {0}}, {{{-2, 0, 2}, {0, 1, 0}, 1, 0}}});
  check_sound(svg);
  CHECK(has(svg, "M0 84L168 0L336 84"));                  // the trajectory
  CHECK(has(svg, "cx=\"0\" cy=\"84\" r=\"2.6\""));
  CHECK(has(svg, "cx=\"336\" cy=\"84\" r=\"2.8\""));
  CHECK(has(svg, "d=\"M0 84L252 84\""));                  // the chord
  CHECK(has(svg, "one call"));
  CHECK_FALSE(has(svg, "outside"));
  const std::string lost = svg_paths({frame(), {}, {{{-2, NAN, 2}, {0, 1, 0}, 9, 0}}});
  check_sound(lost);
  CHECK(has(lost, "M0 84M336 84"));                       // a gap
  CHECK(has(lost, "1 points or paths are not finite, or outside of the picture"));
  CHECK_THROWS_AS(svg_paths({{}, {}, {{{}, {}, 0, 0}}}), ShapeError);
  CHECK_THROWS_AS(svg_paths({{}, {}, {{{1, 2}, {1}, 0, 0}}}), ShapeError);
}

TEST_CASE("arrows point along the field, the longest as long as neighbours are apart") {
  // Two arrows: 336 x 168 pixels, so sqrt(336 * 168 / 2) = 168 pixels for the longest, of length 4: 42 pixels a unit.
  const std::string svg = svg_arrows({frame(), "u", {0, 0, 0}, {0, -1, 0}, {0, 1, INFINITY}, {4, 0, 0}});
  check_sound(svg);
  CHECK(has(svg, "M168 84L168 -84"));                     // upwards
  CHECK(has(svg, "M168 168L210 168"));                    // to the right
  CHECK(has(svg, "|u| = 0.5"));
  CHECK(has(svg, "longest arrow: 4"));
  CHECK(has(svg, "1 arrows are not finite, or outside of the picture"));
  check_sound(svg_arrows({frame(), "u", {0}, {0}, {0}, {0}}));
  check_sound(svg_arrows({}));
  CHECK_THROWS_AS(svg_arrows({{}, "u", {1}, {1}, {1}, {}}), ShapeError);
}

TEST_CASE("a heat map colours its cells from the lowest to the highest, row 0 below") {
  HeatPlot plot{frame(), 2, 2, {0, 1, 2, 4}, "error (squared distance)"};
  const std::string svg = svg_heat(plot);
  check_sound(svg);
  CHECK(has(svg, "d=\"M0 84h168.3v84.3h-168.3z\" fill=\"#440154\""));            // 0: viridis at its dark end, lower left
  CHECK(has(svg, "d=\"M168 0h168.3v84.3h-168.3z\" fill=\"#fde725\""));           // 4: at its bright end, upper right
  CHECK(has(svg, "error (squared distance)"));
  CHECK(has(svg, ">4</text>"));
  plot.log_scale = true;
  const std::string logs = svg_heat(plot);
  check_sound(logs);
  CHECK(has(logs, "1 of 4 cells have no value to show"));
  CHECK(has(logs, "d=\"M168 84h168.3v84.3h-168.3z\" fill=\"#440154\""));         // 1 is the lowest positive one
  plot.values = {NAN, 3, 3, 3};
  check_sound(svg_heat(plot));
  plot.values = {NAN, NAN, NAN, NAN};
  check_sound(svg_heat(plot));
  plot.values = {1e-9, 1, 1e-3, 1};
  CHECK(count(svg_heat(plot), "shape-rendering") == 3);   // 1e-9 is drawn as what lies six powers of ten below the largest
  plot.values.pop_back();
  CHECK_THROWS_WITH_AS(svg_heat(plot), "svg_heat: 3 values for 2 rows of 2 cells", ShapeError);
  CHECK_THROWS_AS(svg_heat({{}, 1, 1, {1}, "q"}), ShapeError);
}

TEST_CASE("the same from tensors of points") {
  const Tensor a = Tensor::from<float>({0, 1, 2, 3, 4, 5}, {3, 2}), b = Tensor::from<double>({6, 7, 8, 9, 10, 11}, {3, 2});
  const PointGroup group = point_group("data", a);
  CHECK(group.name == "data");
  CHECK(group.x == std::vector<double>{0, 2, 4});
  CHECK(group.y == std::vector<double>{1, 3, 5});
  const std::vector<FlowPath> paths = flow_paths({a, b, a}, b);
  REQUIRE(paths.size() == 3);
  CHECK(paths[1].x == std::vector<double>{2, 8, 2});
  CHECK(paths[1].y == std::vector<double>{3, 9, 3});
  CHECK(paths[2].chord_x == 10);
  CHECK(paths[2].chord_y == 11);
  const ArrowPlot arrows = arrow_plot(frame(), "v", a, b);
  CHECK(arrows.y == std::vector<double>{1, 3, 5});
  CHECK(arrows.u == std::vector<double>{6, 8, 10});
  CHECK(arrows.v == std::vector<double>{7, 9, 11});
  CHECK(cell_centres(frame(), 2, 2).to_vector<double>() == std::vector<double>{-1, -0.5, 1, -0.5, -1, 0.5, 1, 0.5});
  CHECK_THROWS_WITH_AS(point_group("samples", Tensor::zeros({4, 3})), "samples have the shape [4, 3]; wanted are points (n, 2)", ShapeError);
  CHECK_THROWS_WITH_AS(flow_paths({Tensor::zeros({2, 2})}, a), "states have the shape [2, 2]; wanted are points (n, 2) with n = 3", ShapeError);
  CHECK_THROWS_AS(arrow_plot({}, "u", a, Tensor::zeros({2, 2})), ShapeError);
}

TEST_CASE("empty pictures, single points and huge ranges are sound") {
  check_sound(svg_scatter({}));
  check_sound(svg_paths({}));
  for (const double x : {0.0, 1e-12, -7e8}) check_sound(svg_scatter({{}, {{"one", {x}, {x}}}}));
  check_sound(svg_scatter({{}, {{"bad", {INFINITY, NAN}, {0, 0}}}}));
  CHECK(pixels(12.0) == "12");
  CHECK(pixels(-0.04) == "0");
  CHECK(pixels(3.16) == "3.2");
}

TEST_CASE("pictures stand in a page, or alone with their colours") {
  const std::string svg = svg_scatter({frame(), {{"data", {0}, {0}}}}), alone = standalone_svg(svg);
  CHECK(is_balanced(alone));
  CHECK(has(alone, "prefers-color-scheme: dark"));
  CHECK(alone.starts_with("<svg class=\"plot\""));
  HtmlReport report("toy");
  report.pictures({svg, svg});
  CHECK(is_balanced(report.html()));
  CHECK(count(report.html(), "<figure><svg class=\"plot\"") == 2);
}
