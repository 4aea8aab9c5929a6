// Line plots and dot plots as whole texts. The sizes are chosen so that a unit is a round number of pixels; the expected text is computed by
// hand from the margins (line plot: 64 left, 16 right, 34 above, 46 below; dot plot: 20 right, 34 above, 46 below).
#include <doctest/doctest.h>

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "data/report/svg_dots.h"
#include "data/report/svg_plot.h"
#include "tests/support/markup.h"
#include "tests/support/text.h"

using namespace fm;
using fm::test::count;
using fm::test::has;

namespace {

constexpr double missing = std::numeric_limits<double>::quiet_NaN();
using Numbers = std::vector<double>;

std::string head(int width, int height, const std::string& title) {
  return fmt::format(
      "<svg class=\"plot\" viewBox=\"0 0 {} {}\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\">\n<text class=\"title\" x=\"{}\" y=\"20\" "
      "text-anchor=\"middle\">{}</text>\n",
      width, height, width / 2, title);
}

std::string x_tick(double at, double top, double under, const std::string& number) {
  return fmt::format(
      "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/><text x=\"{0:.1f}\" y=\"{3:.1f}\" text-anchor=\"middle\">{4}</text>\n", at,
      fmt::format("{:.1f}", top), fmt::format("{:.1f}", under), std::max(top, under) + 16, number);
}

std::string y_tick(double at, double right, const std::string& number) {
  return fmt::format(
      "<line class=\"grid\" x1=\"64.0\" x2=\"{1:.1f}\" y1=\"{0:.1f}\" y2=\"{0:.1f}\"/><text x=\"58.0\" y=\"{2:.1f}\" text-anchor=\"end\">{3}</text>\n", at,
      right, at + 4, number);
}

// The path of the line that plots the n points x = i, y = f(i).
template <class F> std::string line_of(int n, const F& f) {
  Curve curve{"c", {}, {}};
  for (int i = 0; i < n; ++i) curve.x.push_back(i), curve.y.push_back(f(i));
  const std::string svg = svg_plot({.title = "t", .curves = {curve}, .width = 80 + 2 * (n - 1)});   // 2 pixels per point
  const std::size_t begin = svg.find("d=\"") + 3;
  return svg.substr(begin, svg.find('"', begin) - begin);
}

// The x values of the points of a path, in units of the data.
Numbers kept_of(const std::string& line) {
  Numbers out;
  for (std::size_t at = line.find_first_of("ML"); at != std::string::npos; at = line.find_first_of("ML", at + 1))
    out.push_back((std::stod(line.substr(at + 1)) - 64) / 2);
  return out;
}

}  // namespace

TEST_CASE("a line plot has exactly the expected SVG text: grid, labels, lines with gaps, points and legend") {
  // x from 0 to 12 has 120 pixels, 10 per unit. y from 0 to 20, with a twentieth more at both ends, has 110 pixels, 5 per unit.
  const Plot plot{.title = "title", .x_label = "step", .y_label = "loss",
                  .curves = {{"one", {0, 4, 8, 12}, {0, missing, 10, 20}}, {"second", {0, 12}, {20, 0}, true, true}}, .width = 200, .height = 190};
  std::string wanted = head(200, 190, "title");
  for (int x = 0; x <= 12; x += 2) wanted += x_tick(64 + 10 * x, 144, 34, std::to_string(x));
  for (int y = 0; y <= 20; y += 5) wanted += y_tick(139 - 5 * y, 184, std::to_string(y));
  wanted +=
      "<rect class=\"frame\" x=\"64.0\" y=\"34.0\" width=\"120.0\" height=\"110.0\"/>\n"
      "<text x=\"124.0\" y=\"182\" text-anchor=\"middle\">step</text>\n"
      "<text transform=\"translate(14 89.0) rotate(-90)\" text-anchor=\"middle\">loss</text>\n"
      "<path d=\"M64.0 139.0M144.0 89.0L184.0 39.0\" fill=\"none\" stroke=\"#0072b2\" stroke-width=\"1.6\" stroke-linejoin=\"round\"/>\n"
      "<path d=\"M64.0 39.0L184.0 139.0\" fill=\"none\" stroke=\"#d55e00\" stroke-width=\"1.6\" stroke-linejoin=\"round\" stroke-dasharray=\"5 4\"/>\n"
      "<circle cx=\"64.0\" cy=\"139.0\" r=\"5\" fill=\"#0072b2\" fill-opacity=\"0\"><title>one: 0, 0</title></circle>\n"
      "<circle cx=\"144.0\" cy=\"89.0\" r=\"5\" fill=\"#0072b2\" fill-opacity=\"0\"><title>one: 8, 10</title></circle>\n"
      "<circle cx=\"184.0\" cy=\"39.0\" r=\"5\" fill=\"#0072b2\" fill-opacity=\"0\"><title>one: 12, 20</title></circle>\n"
      "<circle cx=\"64.0\" cy=\"39.0\" r=\"3\" fill=\"#d55e00\"><title>second: 0, 20</title></circle>\n"
      "<circle cx=\"184.0\" cy=\"139.0\" r=\"3\" fill=\"#d55e00\"><title>second: 12, 0</title></circle>\n"
      // the legend is 40 + 6.6 x 6 letters wide and 8 + 16 x 2 high, 6 pixels from the frame's corner
      "<rect class=\"legend\" x=\"98.4\" y=\"40.0\" width=\"79.6\" height=\"40.0\" rx=\"3\"/>\n"
      "<line x1=\"104.4\" x2=\"124.4\" y1=\"52.0\" y2=\"52.0\" stroke=\"#0072b2\" stroke-width=\"2.5\"/><text x=\"130.4\" y=\"56.0\">one</text>\n"
      "<line x1=\"104.4\" x2=\"124.4\" y1=\"68.0\" y2=\"68.0\" stroke=\"#d55e00\" stroke-width=\"2.5\" stroke-dasharray=\"5 4\"/>"
      "<text x=\"130.4\" y=\"72.0\">second</text>\n</svg>\n";
  CHECK(svg_plot(plot) == wanted);
  CHECK_FALSE(has(svg_plot({.title = "t", .curves = {plot.curves[0]}}), "legend"));
  CHECK(has(svg_plot({.title = "t", .curves = std::vector<Curve>(9, plot.curves[0])}), "stroke=\"#888888\""));
  CHECK(count(svg_plot({.title = "t", .curves = std::vector<Curve>(9, plot.curves[0])}), "stroke=\"#0072b2\"") == 4);   // after eight colors the first one returns
}

TEST_CASE("a logarithmic axis has equal decades; ranges of one value or of none have a default width") {
  // Two decades, with a twentieth more at both ends, have 110 pixels: 50 per decade. Values that are not positive are gaps.
  const std::string logs = svg_plot({.title = "t", .curves = {{"", {0, 6, 9, 12}, {1, 10, 0, 100}}}, .log_y = true, .width = 200, .height = 190});
  CHECK(has(logs, y_tick(139, 184, "1") + y_tick(89, 184, "10") + y_tick(39, 184, "100") + "<rect"));
  CHECK(has(logs, "d=\"M64.0 139.0L124.0 89.0M184.0 39.0\""));
  CHECK(has(logs, "<title>6, 10</title>"));                                   // without a name there is no colon
  const auto of = [](double x, double y, bool log_scale) {
    return svg_plot({.title = "t", .curves = {{"c", {x}, {y}}}, .log_x = log_scale, .log_y = log_scale, .width = 200, .height = 190});
  };
  // A single value gets half of it on both sides: x from 2.5 to 7.5, y from 2 to 6 and a twentieth more.
  const std::string one = of(5, 4, false);
  CHECK(has(one, "d=\"M124.0 89.0\""));
  CHECK(has(one, x_tick(64, 144, 34, "2.5") + x_tick(76, 144, 34, "3")));
  CHECK(has(one, y_tick(139, 184, "2") + y_tick(114, 184, "3")));
  CHECK(has(of(-5, -4, false), x_tick(64 + 24 * 0.5, 144, 34, "-7")));
  CHECK(has(of(-5, -4, false), y_tick(139, 184, "-6")));
  CHECK(has(of(0, 0, false), y_tick(89, 184, "0") + y_tick(69, 184, "0.2")));   // for 0 the axis is from -0.5 to 0.5
  CHECK(has(of(0.0005, 0.0005, false), y_tick(89, 184, "0.0005")));            // small values must differ from 0
  // On a log axis the range is from half to twice the value.
  const std::string log_one = of(5, 4, true);
  CHECK(has(log_one, "d=\"M124.0 89.0\""));
  CHECK(has(log_one, x_tick(184, 144, 34, "10")));
  CHECK(has(log_one, y_tick(139, 184, "2") + y_tick(139 - 100 * std::log(2.5) / std::log(4.0), 184, "5")));
  // Without values the axis is from 0 to 1, or from 1 to 10.
  CHECK(has(of(missing, missing, false), x_tick(64, 144, 34, "0") + x_tick(76, 144, 34, "0.1")));
  CHECK(has(of(missing, missing, true), x_tick(64, 144, 34, "1") + x_tick(64 + 120 * std::log10(2.0), 144, 34, "2")));
}

TEST_CASE("a legend too large for the plot area is placed below the plot, in as many columns as fit") {
  const auto of = [](std::size_t n, const std::string& name) { return svg_plot({.title = "t", .curves = std::vector<Curve>(n, Curve{name, {0, 1}, {0, 1}}), .width = 400}); };
  for (const std::size_t n : {2, 4}) {
    CHECK(has(of(n, "abc"), "viewBox=\"0 0 400 360\""));
    CHECK(count(of(n, "abc"), "class=\"legend\"") == 1);
  }
  const std::string five = of(5, "abcdefghij");                               // names are 106 pixels wide: three columns, two rows
  CHECK(has(five, "viewBox=\"0 0 400 400\""));                                // two rows of 16 pixels and 8 more
  CHECK_FALSE(has(five, "class=\"legend\""));
  CHECK(has(five, "<text x=\"244.0\" y=\"376.0\">abcdefghij</text>"));         // the third name is at 2 x 106 + 32
  CHECK(has(five, "<text x=\"32.0\" y=\"392.0\">abcdefghij</text>"));          // the fourth name begins the second row
  CHECK_FALSE(has(of(2, std::string(25, 'x')), "class=\"legend\""));           // a legend of 205 of 400 pixels would be too wide
  CHECK(has(of(2, std::string(24, 'x')), "class=\"legend\""));
}

TEST_CASE("labels of logarithmic axes contain \"log scale\", in line plots and dot plots") {
  const auto of = [](bool log_x, bool log_y, const char* label) {
    return svg_plot({.title = "t", .x_label = label, .y_label = label, .curves = {{"c", {1, 2}, {1, 2}}}, .log_x = log_x, .log_y = log_y});
  };
  CHECK(count(of(false, false, "size"), ">size</text>") == 2);
  CHECK(count(of(true, false, "size"), ">size, log scale</text>") == 1);
  CHECK(count(of(true, true, "size"), ">size, log scale</text>") == 2);
  CHECK(count(of(false, true, ""), ">log scale</text>") == 1);
  CHECK(has(svg_dots({"t", "x", {{"a", {1}}}, true}), ">x, log scale</text>"));
  CHECK(has(svg_dots({"t", "x", {{"a", {0.1}}, {"b", {2, 3.1}}}}), ">x, log scale</text>"));        // 31 times the smallest
  CHECK_FALSE(has(svg_dots({"t", "x", {{"a", {0.1}}, {"b", {2.9}}}}), "log scale"));
  CHECK_FALSE(has(svg_dots({"t", "x", {{"a", {0}}, {"b", {31}}}}), "log scale"));              // 0 has no place on such an axis
}

TEST_CASE("bands lie behind their curve, extend the range, and are clipped at the bottom of a log axis") {
  // 10 pixels per unit of x and 5 per unit of y, as above.
  const Curve curve{.name = "c", .x = {0, 4, 8, 12}, .y = {5, missing, 10, 12}, .bands = {{{0, missing, 5, 10}, {10, missing, 15, 20}}}};
  const std::string svg = svg_plot({.title = "t", .curves = {curve}, .width = 200, .height = 190});
  const std::string band = "<path d=\"M64.0 89.0L64.0 139.0ZM144.0 64.0L184.0 39.0L184.0 89.0L144.0 114.0Z\" fill=\"#0072b2\" fill-opacity=\"0.18\"/>\n";
  REQUIRE(has(svg, band));
  CHECK(svg.find(band) < svg.find("fill=\"none\" stroke"));
  CHECK(has(svg, "<title>c: 8, 10 (5 to 15)</title>"));
  // 50 pixels per decade from 1 to 100, as above.
  const Curve low{.name = "c", .x = {0, 12}, .y = {1, 100}, .bands = {{{0, 10}, {10, 100}}}};
  CHECK(has(svg_plot({.title = "t", .curves = {low}, .log_y = true, .width = 200, .height = 190}), "d=\"M64.0 89.0L184.0 39.0L184.0 89.0L64.0 144.0Z\""));
}

TEST_CASE("numbers in tooltips are short") {
  const std::string svg = svg_plot({.title = "t", .curves = {{"c", {1234567, -7654321, 123456.7, 0}, {0.00012345, -0.00054321, 0.0012345, 0}, false, true}}});
  for (const char* text : {"c: 1.23e+06, 0.000123<", "c: -7.65e+06, -0.000543<", "c: 123457, 0.0012345<", "c: 0, 0<"}) CHECK_MESSAGE(has(svg, text), text);
}

TEST_CASE("ticks are multiples of 1, 2 or 5, or powers of ten") {
  const auto steps = [](double high, int ticks) { return axis_ticks(0, high, ticks, false)[1]; };
  CHECK(steps(14, 10) == 1);
  CHECK(steps(15, 10) == 2);                                                  // from 1.5, 3.5 and 7.5 times a power of ten on, the next step
  CHECK(steps(34, 10) == 2);
  CHECK(steps(35, 10) == 5);
  CHECK(steps(74, 10) == 5);
  CHECK(steps(75, 10) == 10);
  CHECK(steps(0.034, 10) == 0.002);
  CHECK(axis_ticks(0, 10, 1, false) == Numbers{0, 10});
  CHECK(axis_ticks(0, 10, 0, false) == Numbers{0});
  CHECK(axis_ticks(-7, 8, 3, false) == Numbers{-5, 0, 5});
  CHECK(axis_ticks(1, 1000, 5, true) == Numbers{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000});   // up to three decades have ticks at 2 and 5
  CHECK(axis_ticks(0.5, 2000, 5, true) == Numbers{1, 10, 100, 1000});
  CHECK(axis_ticks(1, 1e12, 5, true).size() == 7);                            // every second of 13 powers
  CHECK(axis_ticks(2, 4, 5, true) == Numbers{2, 2.5, 3, 3.5, 4});             // linear ticks if powers of ten would give too few
  CHECK(axis_ticks(2, 5, 5, true) == Numbers{2, 5});
}

TEST_CASE("a long curve keeps the lowest and the highest point of each of 600 pieces, in order") {
  CHECK(kept_of(line_of(1200, [](int i) { return i; })).size() == 1200);      // all are kept
  CHECK(kept_of(line_of(1201, [](int i) { return i; })).size() == 1200);
  const auto wave = [](int i) { return Numbers{0, 5, -3, 1}[static_cast<std::size_t>(i % 4)]; };
  Numbers wanted;
  for (int b = 0; b < 600; ++b) wanted.push_back(4 * b + 1), wanted.push_back(4 * b + 2);
  CHECK(kept_of(line_of(2400, wave)) == wanted);
  const auto with_hole = [&](int i) { return i / 4 == 7 ? missing : i / 4 == 9 ? 2 : wave(i); };
  wanted.erase(wanted.begin() + 19);                                           // of equal values only the first is kept
  wanted[18] = 36;
  wanted.erase(wanted.begin() + 14, wanted.begin() + 16);                      // a piece without values keeps no point
  CHECK(kept_of(line_of(2400, with_hole)) == wanted);
  const auto circles = [](int n, bool markers) {
    Curve curve{"c", {}, {}, false, markers};
    for (int i = 0; i < n; ++i) curve.x.push_back(i), curve.y.push_back(i);
    return count(svg_plot({.title = "t", .curves = {curve}}), "<circle");
  };
  CHECK(circles(150, false) == 150);
  CHECK(circles(151, false) == 76);                                            // every second point, so that there are at most 150
  CHECK(circles(300, false) == 150);
  CHECK(circles(301, false) == 101);
  CHECK(circles(400, true) == 400);
}

TEST_CASE("a dot plot has exactly the expected SVG text") {
  // With names of at most 4 letters the axis begins at 44 pixels. x from 0 to 20, with a twentieth more at both ends, has 110 pixels: 5 per unit. A row is 24
  // high.
  const DotPlot plot{"variants", "distance", {{"ab", {0, 20, missing}}, {"c<", {10}}, {"d", {missing}}}, false, 174};
  std::string wanted = head(174, 152, "variants");
  for (int x = 0; x <= 20; x += 5) wanted += x_tick(49 + 5 * x, 34, 106, std::to_string(x));
  wanted +=
      "<rect class=\"frame\" x=\"44.0\" y=\"34.0\" width=\"110.0\" height=\"72.0\"/>\n"
      "<text x=\"38.0\" y=\"50.0\" text-anchor=\"end\">ab</text>\n"
      "<line x1=\"99.0\" x2=\"99.0\" y1=\"38.0\" y2=\"54.0\" stroke=\"#d55e00\" stroke-width=\"2.5\"/>\n"                 // the bar at the mean
      "<circle cx=\"49.0\" cy=\"46.0\" r=\"4\" fill=\"#0072b2\" fill-opacity=\"0.75\"><title>ab: 0</title></circle>\n"
      "<circle cx=\"149.0\" cy=\"46.0\" r=\"4\" fill=\"#0072b2\" fill-opacity=\"0.75\"><title>ab: 20</title></circle>\n"
      "<text x=\"38.0\" y=\"74.0\" text-anchor=\"end\">c&lt;</text>\n"
      "<circle cx=\"99.0\" cy=\"70.0\" r=\"4\" fill=\"#0072b2\" fill-opacity=\"0.75\"><title>c&lt;: 10</title></circle>\n"
      "<text x=\"38.0\" y=\"98.0\" text-anchor=\"end\">d</text>\n"
      "<text x=\"48.0\" y=\"98.0\">-</text>\n"
      "<text x=\"99.0\" y=\"144.0\" text-anchor=\"middle\">distance</text>\n</svg>\n";
  CHECK(svg_dots(plot) == wanted);
}

TEST_CASE("dot plots are correct for log axes, equal values, no values and long names") {
  const auto of = [](const Numbers& values, bool log_x, const std::string& name = "a") { return svg_dots({"t", "x", {{name, values}}, log_x, 174}); };
  const std::string logs = of({1, 100, 0, -1}, true);                          // 50 pixels per decade; 0 and -1 are left out
  CHECK(count(logs, "<circle") == 2);
  CHECK(has(logs, x_tick(49, 34, 58, "1") + x_tick(99, 34, 58, "10") + x_tick(149, 34, 58, "100") + "<rect"));
  CHECK(has(of({4, 4}, false), "cx=\"99.0\""));
  CHECK(has(of({4}, false), x_tick(44, 34, 58, "2") + x_tick(44 + 110 * 0.125, 34, 58, "2.5")));    // the axis is from 2 to 6
  CHECK(has(of({-4}, false), x_tick(44, 34, 58, "-6")));
  CHECK(has(of({4}, true), x_tick(44, 34, 58, "2") + x_tick(44 + 110 * std::log(2.5) / std::log(4.0), 34, 58, "5")));
  CHECK(has(of({}, false), x_tick(49, 34, 58, "0") + x_tick(69, 34, 58, "0.2")));
  CHECK(has(of({}, true), x_tick(49, 34, 58, "1") + x_tick(49 + 100 * std::log10(2.0), 34, 58, "2")));
  CHECK(has(of({1}, false, "name of 18 letters"), "<rect class=\"frame\" x=\"78.3\""));      // names get at most 0.45 of the width
  CHECK(has(of({1}, false, "five5"), "<rect class=\"frame\" x=\"51.0\""));
}
