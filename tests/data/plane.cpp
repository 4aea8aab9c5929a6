// Plots of the plane: text that parses, marks in the right positions, one scale in both directions, and a note for everything left out.
#include <doctest/doctest.h>

#include <fmt/format.h>

#include <cmath>
#include <regex>
#include <string>
#include <vector>

#include "data/report/html.h"
#include "data/report/svg_heat.h"
#include "data/report/svg_plane.h"
#include "tensor/error.h"
#include "tests/support/error_of.h"
#include "tests/support/markup.h"
#include "tests/support/mentions.h"
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
  CHECK(count(svg, "http") == 1);        // the name of the SVG standard; nothing is fetched
}

PlaneFrame frame() { return {.title = "a < b", .x_label = "z[0]", .y_label = "z[1]", .x_low = -2, .x_high = 2, .y_low = -1, .y_high = 1}; }

}  // namespace

TEST_CASE("the range determines the scale, which is equal in both directions; y grows upwards") {
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
  const Plane wide({}, {0, 100}, {0, 1}), high({}, {0, 1}, {0, 100});          // very flat and very high ranges are widened
  CHECK(near(wide.height(), 0.45 * wide.width(), 1e-12));
  CHECK(near(high.height(), 1.25 * high.width(), 1e-12));
  CHECK(wide.shows(0, 0));
  CHECK(high.shows(1, 100));
}

TEST_CASE("a scatter plot has dots, names and labels, and a note on the points it leaves out") {
  const std::string svg = svg_scatter({frame(), {{"data & more", {0, -2, 5}, {0, -1, 0}}, {"samples", {1, NAN}, {0.5, 0}}}});
  check_sound(svg);
  CHECK(has(svg, "a &lt; b"));
  CHECK(has(svg, ">data &amp; more</text>"));
  CHECK(has(svg, ">z[0]</text>"));
  CHECK(has(svg, ">z[1]</text>"));
  CHECK(has(svg, "d=\"M168 84h0M0 168h0\""));            // the middle and the lower left corner of 336 x 168 pixels
  CHECK(has(svg, "d=\"M252 42h0\""));
  CHECK(has(svg, "2 points are not finite, or outside of the plot"));
  PointGroup many{"many", {}, {}};
  for (int i = 0; i < 5000; ++i) many.x.push_back(std::sin(i)), many.y.push_back(std::cos(i * 1.3));
  const std::string full = svg_scatter({{}, {many}});
  check_sound(full);
  CHECK(has(full, "many (2000 of 5000)"));
  CHECK(count(full, "h0") == 2000);
  CHECK(full.size() < 40000);
  CHECK_FALSE(has(full, "not finite"));
  CHECK(test::mentions(test::error_of<ShapeError>([&] { svg_scatter({{}, {{"a", {1, 2}, {1}}}}); }), {"svg_scatter", "'a'", "2", "1 numbers"}));
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
  CHECK(has(lost, "M0 84M336 84"));                       // the line has a gap
  CHECK(has(lost, "1 points or paths are not finite, or outside of the plot"));
  CHECK_THROWS_AS(svg_paths({{}, {}, {{{}, {}, 0, 0}}}), ShapeError);
  CHECK_THROWS_AS(svg_paths({{}, {}, {{{1, 2}, {1}, 0, 0}}}), ShapeError);
}

TEST_CASE("arrows point along the field; the longest is as long as the distance of neighbors") {
  // Two arrows in 336 x 168 pixels: the longest, of length 4, gets sqrt(336 * 168 / 2) = 168 pixels. So a unit is 42 pixels.
  const std::string svg = svg_arrows({frame(), "u", {0, 0, 0}, {0, -1, 0}, {0, 1, INFINITY}, {4, 0, 0}});
  check_sound(svg);
  CHECK(has(svg, "M168 84L168 -84"));                     // the arrow up
  CHECK(has(svg, "M168 168L210 168"));                    // the arrow to the right
  CHECK(has(svg, "|u| = 0.5"));
  CHECK(has(svg, "longest arrow: 4"));
  CHECK(has(svg, "1 arrows are not finite, or outside of the plot"));
  check_sound(svg_arrows({frame(), "u", {0}, {0}, {0}, {0}}));
  check_sound(svg_arrows({}));
  CHECK_THROWS_AS(svg_arrows({{}, "u", {1}, {1}, {1}, {}}), ShapeError);
}

TEST_CASE("a heat map colors its cells from the lowest to the highest value, with row 0 at the bottom") {
  HeatPlot plot{frame(), 2, 2, {0, 1, 2, 4}, "error (squared distance)"};
  const std::string svg = svg_heat(plot);
  check_sound(svg);
  CHECK(has(svg, "d=\"M0 84h168.3v84.3h-168.3z\" fill=\"#440154\""));            // the cell with 0, lower left, has the dark end of viridis
  CHECK(has(svg, "d=\"M168 0h168.3v84.3h-168.3z\" fill=\"#fde725\""));           // the cell with 4, upper right, has the bright end
  CHECK(has(svg, "error (squared distance)"));
  CHECK(has(svg, ">4</text>"));
  plot.log_scale = true;
  const std::string logs = svg_heat(plot);
  check_sound(logs);
  CHECK(has(logs, "1 of 4 cells have no value to show"));
  CHECK(has(logs, "d=\"M168 84h168.3v84.3h-168.3z\" fill=\"#440154\""));         // 1 is the lowest positive value
  plot.values = {NAN, 3, 3, 3};
  check_sound(svg_heat(plot));
  plot.values = {NAN, NAN, NAN, NAN};
  check_sound(svg_heat(plot));
  plot.values = {1e-9, 1, 1e-3, 1};
  CHECK(count(svg_heat(plot), "shape-rendering") == 3);   // 1e-9 is shown as six powers of ten below the largest value
  plot.values.pop_back();
  CHECK(test::mentions(test::error_of<ShapeError>([&] { svg_heat(plot); }), {"svg_heat", "3 values", "2 rows", "2 cells"}));
  CHECK_THROWS_AS(svg_heat({{}, 1, 1, {1}, "q"}), ShapeError);
}

TEST_CASE("scatter, trajectory and arrow plots are built from tensors of points") {
  const Tensor a = Tensor::from<float>({0, 1, 2, 3, 4, 5}, {3, 2}), b = Tensor::from<double>({6, 7, 8, 9, 10, 11}, {3, 2});
  const PointGroup group = point_group("data", a);
  CHECK(group.name == "data");
  CHECK(group.x == std::vector<double>{0, 2, 4});
  CHECK(group.y == std::vector<double>{1, 3, 5});
  const std::vector<FlowPath> paths = flow_paths({a, b, a}, b);
  REQUIRE(paths.size() == 3);
  CHECK(paths[0].x == std::vector<double>{0, 6, 0});
  CHECK(paths[0].y == std::vector<double>{1, 7, 1});
  CHECK(paths[0].chord_x == 6);
  CHECK(paths[0].chord_y == 7);
  CHECK(paths[1].x == std::vector<double>{2, 8, 2});
  CHECK(paths[1].y == std::vector<double>{3, 9, 3});
  CHECK(paths[2].chord_x == 10);
  CHECK(paths[2].chord_y == 11);
  const ArrowPlot arrows = arrow_plot(frame(), "v", a, b);
  CHECK(arrows.y == std::vector<double>{1, 3, 5});
  CHECK(arrows.u == std::vector<double>{6, 8, 10});
  CHECK(arrows.v == std::vector<double>{7, 9, 11});
  CHECK(cell_centres(frame(), 2, 2).to_vector<double>() == std::vector<double>{-1, -0.5, 1, -0.5, -1, 0.5, 1, 0.5});
  CHECK(test::mentions(test::error_of<ShapeError>([&] { point_group("samples", Tensor::zeros({4, 3})); }), {"samples", "[4, 3]", "2)"}));
  CHECK(test::mentions(test::error_of<ShapeError>([&] { flow_paths({Tensor::zeros({2, 2})}, a); }), {"[2, 2]", "2)", "= 3"}));
  CHECK_THROWS_AS(arrow_plot({}, "u", a, Tensor::zeros({2, 2})), ShapeError);
}

TEST_CASE("plots without points, of single points and of huge ranges are valid SVG") {
  check_sound(svg_scatter({}));
  check_sound(svg_paths({}));
  for (const double x : {0.0, 1e-12, -7e8}) check_sound(svg_scatter({{}, {{"one", {x}, {x}}}}));
  check_sound(svg_scatter({{}, {{"bad", {INFINITY, NAN}, {0, 0}}}}));
  CHECK(pixels(12.0) == "12");
  CHECK(pixels(-0.04) == "0");
  CHECK(pixels(3.16) == "3.2");
}

TEST_CASE("an SVG plot is valid inside a page, and alone with its own colors") {
  const std::string svg = svg_scatter({frame(), {{"data", {0}, {0}}}}), alone = standalone_svg(svg);
  CHECK(is_balanced(alone));
  CHECK(has(alone, "prefers-color-scheme: dark"));
  CHECK(has(alone, ".legend {"));                              // the legend's box over the curves would be black without a fill
  CHECK(alone.starts_with("<svg class=\"plot\""));
  HtmlReport report("toy");
  report.pictures({svg, svg});
  CHECK(is_balanced(report.html()));
  CHECK(count(report.html(), "<figure><svg class=\"plot\"") == 2);
}

TEST_CASE("a plane plot has exactly the expected SVG text: ticks, labels, marks, insets below, legend and notes") {
  // The area has 336 x 168 pixels at (50, 30), and a unit is 84 pixels. A line of the legend is 18 high, a letter 6.8 wide.
  Plane plane(frame(), {}, {});
  const auto tick = [](const char* format, double at, const char* number) { return fmt::format(fmt::runtime(format), at, number); };
  std::string axes;
  int i = 0;
  for (const char* number : {"-2", "-1", "0", "1", "2"})
    axes += tick("<line class=\"grid\" x1=\"{0}\" x2=\"{0}\" y1=\"30\" y2=\"198\"/><text x=\"{0}\" y=\"213\" text-anchor=\"middle\">{1}</text>\n", 50 + 84 * i++, number);
  i = 0;
  for (const char* number : {"-1", "-0.5", "0", "0.5", "1"}) {
    const int at = 198 - 42 * i++;
    axes += fmt::format("<line class=\"grid\" x1=\"50\" x2=\"386\" y1=\"{0}\" y2=\"{0}\"/><text x=\"45\" y=\"{1}\" text-anchor=\"end\">{2}</text>\n", at, at + 4, number);
  }
  axes +=
      "<text x=\"218\" y=\"232\" text-anchor=\"middle\">z[0]</text>\n<text transform=\"translate(14 114) rotate(-90)\" text-anchor=\"middle\">z[1]</text>\n"
      "<svg x=\"50\" y=\"30\" width=\"336\" height=\"168\" overflow=\"hidden\">\n";
  const auto head = [](int height) {
    return fmt::format("<svg class=\"plot\" viewBox=\"0 0 400 {}\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\">\n"
                       "<text class=\"title\" x=\"200\" y=\"19\" text-anchor=\"middle\">a &lt; b</text>\n", height);
  };
  const std::string edge = "</svg>\n<rect class=\"frame\" x=\"50\" y=\"30\" width=\"336\" height=\"168\"/>\n";
  CHECK(plane.svg() == head(242) + axes + edge + "</svg>\n");
  plane.mark("<path/>\n"), plane.mark("<circle/>\n");
  plane.note("first <"), plane.note("second");
  const std::string marks = "<path/>\n<circle/>\n";
  CHECK(plane.svg() == head(278) + axes + marks + edge +
                           "<text class=\"note\" x=\"50\" y=\"252\">first &lt;</text>\n<text class=\"note\" x=\"50\" y=\"270\">second</text>\n</svg>\n");
  plane.below("<bar/>", 50), plane.below("<line/>", 20);
  plane.legend("<m/>", std::string(20, 'a')), plane.legend("<n/>", std::string(19, 'b')), plane.legend("<o/>", "<");
  CHECK(plane.svg() == head(384) + axes + marks + edge + "<g transform=\"translate(50 242)\"><bar/></g>\n<g transform=\"translate(50 292)\"><line/></g>\n" +
                           "<g transform=\"translate(61 318)\"><m/></g><text x=\"76\" y=\"322\">" + std::string(20, 'a') + "</text>\n" +
                           "<g transform=\"translate(237 318)\"><n/></g><text x=\"252\" y=\"322\">" + std::string(19, 'b') + "</text>\n" +
                           "<g transform=\"translate(61 336)\"><o/></g><text x=\"76\" y=\"340\">&lt;</text>\n" +
                           "<text class=\"note\" x=\"50\" y=\"358\">first &lt;</text>\n<text class=\"note\" x=\"50\" y=\"376\">second</text>\n</svg>\n");
  Plane full(frame(), {}, {});                            // with one letter more, the second name gets a line of its own
  full.legend("<m/>", std::string(20, 'a')), full.legend("<n/>", std::string(20, 'b'));
  CHECK(has(full.svg(), "<g transform=\"translate(61 266)\"><n/></g>"));
  Plane first(frame(), {}, {});                           // a long first name stays on its line
  first.legend("<m/>", std::string(80, 'a'));
  CHECK(has(first.svg(), "<g transform=\"translate(61 248)\"><m/></g>"));
  CHECK(standalone_svg("no image") == "no image");
}

TEST_CASE("the range of a plane plot follows from many values, one value or none") {
  const auto check = [](const std::vector<double>& xs, const std::vector<double>& ys, double x_low, double x_length, double y_low, double y_length) {
    const Plane plane({}, xs, ys);
    CHECK(near(plane.x_low(), x_low, 1e-12));
    CHECK(near(plane.y_low(), y_low, 1e-12));
    CHECK(near(336 / plane.scale(), x_length, 1e-12));
    CHECK(near(plane.height() / plane.scale(), y_length, 1e-12));
    CHECK(plane.width() == 336);
  };
  check({1, 11, INFINITY}, {2, NAN, 8}, 0.6, 10.8, 1.76, 6.48);
  check({3}, {-3}, 2.2, 1.6, -3.8, 1.6);
  check({}, {}, -1, 2, -1, 2);
  check({0, 100}, {0, 1}, -4, 108, 0.5 - 24.3, 48.6);      // the height is 0.45 of the width
  check({0, 1}, {0, 100}, 0.5 - 43.2, 86.4, -4, 108);      // the height is 1.25 of the width
  const Plane plane(frame(), {}, {});
  CHECK((plane.shows(-2, -1) && plane.shows(2, 1) && plane.shows(-2, 1)));
  for (const auto& [x, y] : {std::pair{-2.01, 0.0}, {2.01, 0.0}, {0.0, -1.01}, {0.0, 1.01}, {NAN, 0.0}, {0.0, NAN}, {INFINITY, 0.0}}) CHECK_FALSE(plane.shows(x, y));
}

TEST_CASE("dots are larger if they are few, and six colors repeat") {
  const auto of = [](std::size_t n) { return svg_scatter({frame(), {{"a", std::vector<double>(n, 0.0), std::vector<double>(n, 0.0)}}}); };
  CHECK(has(of(400), "stroke=\"#2b8ccf\" stroke-opacity=\"0.6\" stroke-width=\"4\""));
  CHECK(has(of(401), "stroke-width=\"2.4\""));
  CHECK(has(of(2000), ">a</text>"));
  CHECK(has(of(2001), ">a (2000 of 2001)</text>"));
  CHECK(count(of(2001), "h0") == 2000);
  const std::string seven = svg_scatter({frame(), std::vector<PointGroup>(7, {"a", {0}, {0}})});
  for (std::size_t i = 0; i < 6; ++i) CHECK(count(seven, std::string("stroke=\"") + plane_colours[i]) == (i == 0 ? 2 : 1));
  CHECK(count(seven, "<circle r=\"4\" fill=\"#2b8ccf\"/>") == 2);
}

TEST_CASE("trajectories and arrows have exactly the expected SVG marks") {
  const auto marks = [](const std::string& svg) {
    const std::size_t begin = svg.find("overflow=\"hidden\">\n") + 19;
    return svg.substr(begin, svg.find("</svg>", begin) - begin);
  };
  const std::string dashed = "fill=\"none\" stroke=\"#d55e00\" stroke-width=\"1.3\" stroke-dasharray=\"4 3\"/>\n";
  CHECK(marks(svg_paths({frame(), {"data", {0, 1}, {0, -1}}, {{{-2, 0, 2}, {0, 1, 0}, 1, 0}, {{1}, {1}, 9, 1}}})) ==
        "<path d=\"M168 84h0M252 168h0\" fill=\"none\" stroke=\"#2b8ccf\" stroke-opacity=\"0.35\" stroke-width=\"2.4\" stroke-linecap=\"round\"/>\n"
        "<path class=\"ink\" d=\"M0 84L168 0L336 84M252 0\" fill=\"none\" stroke-opacity=\"0.65\" stroke-width=\"1.2\"/>\n"
        "<path d=\"M0 84L252 84M252 0L924 0\" " + dashed +
        "<circle class=\"ink\" cx=\"0\" cy=\"84\" r=\"2.6\" fill=\"none\"/><circle class=\"ink\" cx=\"252\" cy=\"0\" r=\"2.6\" fill=\"none\"/>"
        "<circle cx=\"336\" cy=\"84\" r=\"2.8\" fill=\"#2b8ccf\"/><circle cx=\"252\" cy=\"0\" r=\"2.8\" fill=\"#2b8ccf\"/>"
        "<path d=\"M252 84m-3.5 -3.5l7 7m0 -7l-7 7M924 0m-3.5 -3.5l7 7m0 -7l-7 7\" fill=\"none\" stroke=\"#d55e00\" stroke-width=\"1.8\"/>\n");
  const auto hidden = [&](const FlowPath& path, const PointGroup& behind = {}) {
    const std::string svg = svg_paths({frame(), behind, {path}});
    check_sound(svg);
    const std::size_t at = svg.find(" points or paths are not finite");
    return at == std::string::npos ? 0 : std::stoi(svg.substr(svg.rfind('>', at) + 1));
  };
  CHECK(hidden({{0, 1}, {0, 0}, 1, 0}) == 0);
  CHECK(hidden({{-9, 1}, {0, 0}, 1, 0}) == 1);
  CHECK(hidden({{0, 9}, {0, 0}, 1, 0}) == 1);
  CHECK(hidden({{0, 1}, {0, 0}, 1, 9}) == 1);
  CHECK(hidden({{0, 1}, {0, 0}, NAN, 0}) == 1);
  CHECK(hidden({{0, 1}, {0, 0}, 1, 0}, {"behind", {0, 7, NAN}, {0, 0, 0}}) == 2);
  for (const auto& [x, y] : {std::pair{NAN, 0.0}, {0.0, NAN}, {INFINITY, 0.0}})      // no chord to a point that is not finite
    CHECK_FALSE(has(svg_paths({frame(), {}, {{{0, 1}, {0, 0}, x, y}}}), "m-3.5 -3.5l7 7m0 -7l-7 7\" fill=\"none\" stroke=\"#d55e00\" stroke-width=\"1.8\"/>\n<"));
  CHECK_FALSE(has(svg_paths({frame(), {}, {{{-9, 1}, {0, 0}, 1.5, 0}}}), "L294 84"));  // no chord from a start outside of the plot
  CHECK_FALSE(has(svg_paths({frame(), {}, {}}), "fill-opacity=\"0.45\""));
  CHECK(has(svg_paths({frame(), {"behind", {0}, {0}}, {}}), "<circle r=\"3.5\" fill=\"#2b8ccf\" fill-opacity=\"0.45\"/>"));

  // Four arrows: the longest, of length 4, gets 118.8 pixels, so a unit is 29.7. Heads are 5 long and 6 wide; those of short arrows have a third of the length.
  const std::string arrows = marks(svg_arrows({frame(), "u", {0, -1, -1, 0}, {0, 0, 0, 0}, {0, 1, 0.101, 0}, {4, 0, 0, 0.001}}));
  CHECK(has(arrows, "M168 84L168 -34.8L171 -29.8M168 -34.8L165 -29.8"));
  CHECK(has(arrows, "M84 84L113.7 84L108.7 87M113.7 84L108.7 81"));
  CHECK(has(arrows, "M84 84L87 84L86 84.6M87 84L86 83.4"));
  CHECK(has(arrows, "M168 84h0\""));
  CHECK(has(arrows, "stroke=\"#2b8ccf\" stroke-width=\"1.4\" stroke-linecap=\"round\"/>\n"));
}

TEST_CASE("the legend's arrow has the largest round length that fits into 22 pixels") {
  const auto legend = [](double u) {                       // 200 arrows, the longest of 16.8 pixels
    ArrowPlot plot{frame(), "v", {}, {}, {}, {}};
    for (int i = 0; i < 200; ++i) plot.x.push_back(-1.9 + 0.19 * (i % 20)), plot.y.push_back(-0.9 + 0.19 * (i / 20)), plot.u.push_back(u), plot.v.push_back(0);
    const std::string svg = svg_arrows(plot);
    const std::size_t at = svg.find("|v| = ");
    return svg.substr(at + 6, svg.find('<', at) - at - 6);
  };
  CHECK(legend(5) == "5");
  CHECK(legend(4.9) == "2");
  CHECK(legend(2) == "2");
  CHECK(legend(1.9) == "1");
  CHECK(legend(1) == "1");
  CHECK(legend(0.09) == "0.05");
  CHECK(legend(30) == "20");
  // One arrow of length 4 gets 237.6 pixels, so 22 pixels are 0.37. The legend's arrow has length 0.2, around the middle.
  const std::string one = svg_arrows({frame(), "u", {0}, {0}, {4}, {0}});
  CHECK(has(one, "|u| = 0.2<"));
  CHECK(has(one, "longest arrow: 4<"));
  CHECK(has(one, "d=\"M-5.9 0L5.9 0L2 2.4M5.9 0L2 -2.4\""));
  CHECK_FALSE(has(svg_arrows({frame(), "u", {0}, {0}, {0}, {0}}), "|u|"));
}

TEST_CASE("a heat map's colors, cells and color bar have exactly the expected SVG text") {
  HeatPlot plot{frame(), 3, 2, {0, 1, 2, 3, 0, 0}, "q"};
  const std::string svg = svg_heat(plot);
  // A cell has 112 x 84 pixels. Thirds of the range are the levels 21 and 42 of 63. The first lies between the colors (59, 81, 139) and (44, 113, 142), the
  // second between (39, 173, 129) and (92, 200, 99).
  CHECK(has(svg, "<path d=\"M112 84h112.3v84.3h-112.3z\" fill=\"#31668d\" shape-rendering=\"crispEdges\"/>\n"));
  CHECK(has(svg, "<path d=\"M224 84h112.3v84.3h-112.3z\" fill=\"#39b677\" shape-rendering=\"crispEdges\"/>\n"));
  CHECK(has(svg, "<path d=\"M0 84h112.3v84.3h-112.3zM112 0h112.3v84.3h-112.3zM224 0h112.3v84.3h-112.3z\" fill=\"#440154\""));
  CHECK(has(svg, "<path d=\"M0 0h112.3v84.3h-112.3z\" fill=\"#fde725\""));
  CHECK_FALSE(has(svg, "no value"));
  CHECK(count(svg, "height=\"10\"") == 64);
  for (const int i : {0, 1, 33, 63}) CHECK(has(svg, fmt::format("<rect x=\"{}\" y=\"0\" width=\"5.8\" height=\"10\"", pixels(5.25 * i))));
  CHECK(has(svg, "<line class=\"ink\" x1=\"112\" x2=\"112\" y1=\"10\" y2=\"14\"/><text x=\"112\" y=\"26\" text-anchor=\"middle\">1</text>"));
  CHECK(has(svg, "<text x=\"168\" y=\"42\" text-anchor=\"middle\">q</text></g>\n"));
  CHECK(has(svg, "<g transform=\"translate(50 242)\"><rect"));
  CHECK(has(svg, "viewBox=\"0 0 400 292\""));

  // All nine colors of viridis, at the levels next to their positions 63 i / 8.
  const HeatPlot all{frame(), 9, 1, {0, 8, 16, 24, 32, 39, 47, 55, 63}, "q"};
  const std::string nine = svg_heat(all);
  for (const std::string color : {"440154", "472d7a", "3b528b", "2b728e", "21928c", "27ac82", "5ac764", "a9dc33", "fde725"})
    CHECK_MESSAGE(count(nine, "fill=\"#" + color + "\" shape") == 1, color);
  const auto numbers = [&](const std::vector<double>& values, bool log_scale) {
    plot.values = values, plot.log_scale = log_scale;
    const std::string text = svg_heat(plot);
    std::string out;
    for (std::size_t at = text.find("y2=\"14\"/>"); at != std::string::npos; at = text.find("y2=\"14\"/>", at + 1)) {
      const std::size_t begin = text.find("middle\">", at) + 8;
      out += text.substr(begin, text.find('<', begin) - begin) + " ";
    }
    return out;
  };
  // Three decades on 336 pixels: 2 is 33.7 pixels from 1, so near that its number is left out.
  CHECK(numbers({1, 1000, 1, 1, 1, 1}, true) == "1 5 20 50 200 500 ");
  CHECK(numbers({1e-9, 1, 1, 1, 1, 1}, true) == "1e-06 1e-05 0.0001 0.001 0.01 0.1 1 ");
  CHECK(numbers({7, 7, 7, 7, 7, 7}, false) == "4 5 6 7 ");                     // one value: the scale begins half of it below
  CHECK(numbers({-7, -7, -7, -7, -7, -7}, false) == "-10 -9 -8 -7 ");
  CHECK(numbers({8, 8, 8, 8, 8, 8}, true) == "1 2 5 ");                        // one value on a log scale: it begins at a tenth of the value
  CHECK(numbers({NAN, NAN, NAN, NAN, NAN, NAN}, false) == "0 0.2 0.4 0.6 0.8 1 ");
  CHECK(numbers({0, -1, 0, 0, 0, 0}, true) == "0.1 0.2 0.5 1 ");
  for (const auto& [columns, rows] : {std::pair{0, 2}, {3, 0}, {-3, -2}}) {
    plot.columns = columns, plot.rows = rows, plot.values.assign(static_cast<std::size_t>(columns * rows), 1.0);
    CHECK_THROWS_AS(svg_heat(plot), ShapeError);
  }
  CHECK_THROWS_AS(svg_heat({{.x_low = 0, .x_high = 1}, 1, 1, {1}, "q"}), ShapeError);
  CHECK_THROWS_AS(svg_heat({{.y_low = 0, .y_high = 1}, 1, 1, {1}, "q"}), ShapeError);
}
