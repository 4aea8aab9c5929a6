// Parts of reports: escaping, base64, ticks, curves, SVG and HTML that parse.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "data/report/csv.h"
#include "data/report/html.h"
#include "tensor/error.h"
#include "tests/support/markup.h"
#include "tests/support/text.h"
#include "tests/support/near.h"

using namespace fm;
using fm::test::has;
using fm::test::count;
using fm::test::is_balanced;
using fm::test::near;

TEST_CASE("base64 gives the test vectors of RFC 4648") {
  CHECK(base64("") == "");
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foo") == "Zm9v");
  CHECK(base64("foob") == "Zm9vYg==");
  CHECK(base64("fooba") == "Zm9vYmE=");
  CHECK(base64("foobar") == "Zm9vYmFy");
  CHECK(base64("\xff\xfe\xfd") == "//79");
}

TEST_CASE("axis ticks are round numbers inside the range") {
  CHECK(axis_ticks(0, 10, 5, false) == std::vector<double>{0, 2, 4, 6, 8, 10});
  CHECK(axis_ticks(-1, 1, 4, false) == std::vector<double>{-1, -0.5, 0, 0.5, 1});
  CHECK(near(axis_ticks(0.5, 2000, 5, true).front(), 1, 1e-14));
  CHECK(axis_ticks(1e-4, 1, 5, true).size() == 5);
  for (const auto& [low, high] : {std::pair{3e-7, 4e-7}, std::pair{-1e9, 2e9}, std::pair{0.99, 1.01}})
    for (bool log_scale : {false, true}) {
      if (log_scale && low <= 0) continue;
      const auto ticks = axis_ticks(low, high, 6, log_scale);
      CHECK(ticks.size() >= 2);
      CHECK(ticks.size() <= 12);
      CHECK(ticks.front() >= low - 1e-6 * std::abs(low));
      CHECK(ticks.back() <= high + 1e-6 * std::abs(high));
    }
}

// The mean of a constant learning rate differs from it by rounding. The step between ticks is then too small to change a number, and must not loop.
TEST_CASE("a constant curve and its mean, which differs by rounding, have a short axis and a level line") {
  const double next = std::nextafter(0.003, 1);
  for (bool log_scale : {false, true}) {
    CHECK(axis_ticks(0.003, next, 5, log_scale).size() <= 12);
    Plot plot{.title = "lr", .x_label = "step", .y_label = "", .curves = {{"lr", {1, 2, 3}, {0.003, 0.003, 0.003}}}, .log_y = log_scale};
    plot.curves.push_back({"mean", {1, 2, 3}, {0.003, next, 0.003}});
    const std::string svg = svg_plot(plot);
    CHECK(has(svg, "M64.0 174.0L"));                     // the line is halfway up, and the numbers beside it are near its value
    CHECK(has(svg, log_scale ? ">0.005</text>" : ">0.003</text>"));
    if (!log_scale) CHECK_FALSE(has(svg, ">0</text>"));
    CHECK(is_balanced(svg));
    CHECK(svg.size() < 10000);
  }
}

TEST_CASE("curves read from CSV skip rows without a finite number") {
  const std::string csv = "step,time,loss,fid\n1,0.5,2,\n2,0.6,nan,\n3,0.7,1.5,12\n";
  const Curve loss = csv_curve(csv, "step", "loss"), fid = csv_curve(csv, "step", "fid", "FID");
  CHECK(loss.x == std::vector<double>{1, 3});
  CHECK(loss.y == std::vector<double>{2, 1.5});
  CHECK(fid.y == std::vector<double>{12});
  CHECK(fid.name == "FID");
  CHECK(csv_columns(csv) == std::vector<std::string>{"step", "time", "loss", "fid"});
  CHECK(csv_cells("a,,b,") == std::vector<std::string_view>{"a", "", "b", ""});
  CHECK(csv_cells("").size() == 1);
  CHECK_THROWS_WITH_AS(csv_curve(csv, "step", "lss"), "no column 'lss' among step,time,loss,fid", FileError);
  CHECK(csv_curve("step,loss\n", "step", "loss").x.empty());
  CHECK(csv_curve("step,loss\n1,2.5\n2,0.1", "step", "loss").y == std::vector<double>{2.5});      // the last line is half a row
}

TEST_CASE("a plot has title, legend, dashes and points, and leaves out values that a log axis lacks") {
  Plot plot{.title = "a < b",
            .x_label = "step",
            .y_label = "loss",
            .curves = {{"one", {1, 2, 3, 4}, {1, NAN, 3, 0}}, {"two & more", {1, 4}, {10, 100}, true, true}},
            .log_y = true};
  const std::string svg = svg_plot(plot);
  CHECK(is_balanced(svg));
  CHECK(svg.find("a &lt; b") != std::string::npos);
  CHECK(svg.find("two &amp; more: 4, 100</title>") != std::string::npos);
  CHECK(svg.find("stroke-dasharray") != std::string::npos);
  CHECK(count(svg, "<circle") == 4);  // a log axis leaves out nan and 0
  CHECK(svg.find("nan") == std::string::npos);
  CHECK(svg.find("inf") == std::string::npos);
  CHECK(svg.find("M64.0 ") != std::string::npos);  // the first x is at the frame's left
}

TEST_CASE("a plot with a given range leaves out the points outside of it") {
  const Plot plot{.title = "t", .curves = {{"c", {0, 1, 2, 3}, {0, 5, 0.5, 1}, false, true}}, .y_low = -1, .y_high = 1};
  const std::string svg = svg_plot(plot);
  CHECK(count(svg, "<circle") == 3);
  CHECK(svg.find("c: 1, 5</title>") == std::string::npos);
  CHECK(svg.find(" 34.0") != std::string::npos);   // 1 lies at the frame's top
  CHECK(svg.find("M64.0 174.0M") != std::string::npos);   // 0 lies halfway between 34 and 314; then follows a gap
  CHECK(is_balanced(svg));
}

TEST_CASE("plots of no data or one point are valid, and plots of many points are small") {
  for (bool log_scale : {false, true}) {
    for (const Curve& curve :
         {Curve{"none", {}, {}}, Curve{"one", {5}, {5}}, Curve{"zero", {0, 0}, {0, 0}}, Curve{"bad", {NAN}, {INFINITY}}}) {
      const std::string svg = svg_plot({.title = "t", .curves = {curve}, .log_x = log_scale, .log_y = log_scale});
      CHECK(is_balanced(svg));
      CHECK(svg.find("nan") == std::string::npos);
      CHECK(svg.find("inf") == std::string::npos);
    }
  }
  Curve many{"many", {}, {}};
  for (int i = 0; i < 200000; ++i) many.x.push_back(i), many.y.push_back(i == 77777 ? 9 : std::sin(i * 0.1));
  const std::string svg = svg_plot({.title = "t", .curves = {many}});
  CHECK(svg.size() < 60000);
  CHECK(count(svg, "<circle") <= 151);
  CHECK(svg.find(" 46.7") != std::string::npos);  // the lone peak is drawn, 0.5 of 11 units (280 pixels) below the top at 34
}

TEST_CASE("a report page is valid HTML without external files") {
  HtmlReport report("Run <1>", "sub");
  report.heading("Samples & more");
  report.paragraph("x < y");
  report.table({"a", "b"}, {{"word", "-1.5"}}, "numbers");
  const std::string png("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x40\0\0\0\x20", 24);
  report.png(png, "a grid", 3);
  report.plots({{.title = "p", .curves = {{"c", {1, 2}, {3, 4}}}}});
  report.preformatted("a\n<b>", "more");
  const std::string html = report.html();
  CHECK(is_balanced(html));
  CHECK(html.find("Run &lt;1&gt;") != std::string::npos);
  CHECK(html.find("<td class=\"number\">-1.5</td>") != std::string::npos);
  CHECK(html.find("width=\"192\" class=\"hard\"") != std::string::npos);
  CHECK(html.find("data:image/png;base64,iVBORw0KGgo") != std::string::npos);
  CHECK(count(html, "<script>") == 1);                 // the script that shows values under the pointer
  CHECK(count(html, "http") == 1);  // the name of the SVG standard; nothing is fetched
}

TEST_CASE("a sortable table contains its sort keys, and the page contains the script once") {
  HtmlReport report("t");
  report.sortable_table({"name<", "x"}, {{"a<", "70.3 ± 0.4"}, {"b", "-"}}, {{"a<", "70.3125"}, {"b", ""}}, "caption<");
  report.sortable_table({"y"}, {{"1"}}, {{"1"}});
  CHECK(report.section() ==
        "<h1>t</h1>\n<div class=\"wide\"><table class=\"sortable\"><caption>caption&lt;</caption><thead><tr><th><button type=\"button\">name&lt;</button></th>"
        "<th class=\"number\"><button type=\"button\">x</button></th></tr></thead>\n<tbody><tr><td data-key=\"a&lt;\">a&lt;</td><td class=\"number\" data-key=\"70.3125\">70.3 ± 0.4</td></tr>\n"
        "<tr><td data-key=\"b\">b</td><td class=\"number\" data-key=\"\">-</td></tr>\n</tbody></table></div>\n"
        "<div class=\"wide\"><table class=\"sortable\"><thead><tr><th class=\"number\"><button type=\"button\">y</button></th></tr></thead>\n<tbody><tr><td class=\"number\" data-key=\"1\">1</td></tr>\n"
        "</tbody></table></div>\n");
  CHECK(is_balanced(report.html()));
  CHECK(count(report.html(), "<script>") == 1);
  CHECK(count(report.html(), "http") == 0);
}

TEST_CASE("a table column is right-aligned, with its heading, if all its cells are numbers") {
  const auto is_right = [](const std::vector<std::string>& cells) {
    HtmlReport report("");
    std::vector<std::vector<std::string>> rows;
    for (const std::string& cell : cells) rows.push_back({cell});
    report.table({"h"}, rows);
    const bool right = has(report.section(), "<th class=\"number\">");
    CHECK(count(report.section(), "<td class=\"number\">") == (right ? std::ssize(cells) : 0));
    return right;
  };
  for (const std::vector<std::string>& cells : std::vector<std::vector<std::string>>{
           {"1", "-2.5", "+3"}, {"23.09 dB", "-"}, {"70.3 ± 0.4"}, {"1.2e-05", "3e+10"}, {"1:22", "1:02:03"}, {"90.6 %", ""}, {"5%"}})
    CHECK_MESSAGE(is_right(cells), cells[0]);
  for (const std::vector<std::string>& cells : std::vector<std::vector<std::string>>{
           {"1", "word"}, {"-", "-"}, {"", ""}, {"2026-11-29 18:13:27"}, {"500783a3", "1"}, {"5e3a"}, {"12abc"}, {"+"}, {"-x"}, {".5"}})
    CHECK_MESSAGE(!is_right(cells), cells[0]);
}

TEST_CASE("links and image strips have the expected HTML, and plots have the width of their place") {
  HtmlReport page("");
  page.links("Stages: ", {{"a<", "a/report.html"}, {"b", "b/report.html"}}), page.links("none", {});
  page.strip({{"bytes", "one<"}, {"more", ""}});
  CHECK(page.section() == "<p>Stages: <a href=\"a/report.html\">a&lt;</a>, <a href=\"b/report.html\">b</a></p>\n<div class=\"strip\">\n"
                          "<figure><img alt=\"one&lt;\" src=\"data:image/png;base64," + base64("bytes") + "\"><figcaption>one&lt;</figcaption></figure>\n"
                          "<figure><img alt=\"\" src=\"data:image/png;base64," + base64("more") + "\"></figure>\n</div>\n");
  HtmlReport images("");
  images.images({{"bytes", "one"}});
  CHECK(images.section() == "<div class=\"plots\">\n<figure><img alt=\"one\" src=\"data:image/png;base64," + base64("bytes") + "\"><figcaption>one</figcaption></figure>\n</div>\n");
  HtmlReport plots("");
  plots.plots({{.title = "half"}, {.title = "own", .width = 300}, {.title = "high", .height = 500}}), plots.plot({.title = "whole"});
  for (const char* box : {"0 0 480 280", "0 0 300 360", "0 0 720 500", "0 0 720 360"}) CHECK_MESSAGE(count(plots.section(), box) == 1, box);
  CHECK_FALSE(has(HtmlReport("t").html(), "<script>"));
}

TEST_CASE("all elements of a report page have exactly the expected HTML") {
  HtmlReport report("", "");
  report.heading("a<"), report.subheading("b<"), report.paragraph("c<");
  report.preformatted("d<"), report.preformatted("e", "f<");
  CHECK(report.section() == "<h2>a&lt;</h2>\n<h3>b&lt;</h3>\n<p>c&lt;</p>\n<pre>d&lt;</pre>\n<details><summary>f&lt;</summary>\n<pre>e</pre>\n</details>\n");
  HtmlReport tables("");
  tables.table({"h<", "i"}, {{"word", "2"}, {"-", "+3"}}, "caption<");
  tables.table({}, {{"x2", "1:02:03"}, {"", ""}, {"-7", "9 %"}});
  CHECK(tables.section() ==
        "<div class=\"wide\"><table><caption>caption&lt;</caption><tr><th>h&lt;</th><th class=\"number\">i</th></tr>\n<tr><td>word</td><td class=\"number\">2</td></tr>\n"
        "<tr><td>-</td><td class=\"number\">+3</td></tr>\n</table></div>\n"
        "<div class=\"wide\"><table><tr><td>x2</td><td class=\"number\">1:02:03</td></tr>\n<tr><td></td><td class=\"number\"></td></tr>\n<tr><td>-7</td><td class=\"number\">9 %</td></tr>\n</table></div>\n");
  HtmlReport pictures("");
  const std::string png("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\2\3\0\0\0\x20", 24);
  pictures.png(png), pictures.png(png.substr(0, 23), "cut"), pictures.png(std::string(24, 'x'), "", 2);
  CHECK(pictures.section() == "<figure><img width=\"66051\" alt=\"\" src=\"data:image/png;base64," + base64(png) + "\"></figure>\n" +      // the width is 0x010203
                                  "<figure><img alt=\"cut\" src=\"data:image/png;base64," + base64(png.substr(0, 23)) + "\"><figcaption>cut</figcaption></figure>\n" +
                                  "<figure><img class=\"hard\" alt=\"\" src=\"data:image/png;base64," + base64(std::string(24, 'x')) + "\"></figure>\n");
  HtmlReport groups("");
  const Plot plot{.title = "p", .curves = {{"c", {1, 2}, {3, 4}}}, .width = 300};
  groups.plots({plot}), groups.dots({{"t", "x", {{"a", {1}}}}}), groups.pictures({"<svg/>"}), groups.figures({{"<svg/>", "g<"}}), groups.embed("<hr/>");
  CHECK(groups.section() == "<div class=\"plots\">\n<figure>" + svg_plot(plot) + "</figure>\n</div>\n<div class=\"plots\">\n<figure>" +
                                svg_dots({"t", "x", {{"a", {1}}}, false, 520}) + "</figure>\n</div>\n<div class=\"planes\">\n<figure><svg/></figure>\n</div>\n" +
                                "<div class=\"planes\">\n<figure><svg/><figcaption>g&lt;</figcaption></figure>\n</div>\n<hr/>");
  CHECK(HtmlReport("t<", "s<").section() == "<h1>t&lt;</h1>\n<p class=\"subtitle\">s&lt;</p>\n");
  CHECK(HtmlReport("t<").html().find("<title>t&lt;</title>") != std::string::npos);
  CHECK(escape_html("a&<>\"'") == "a&amp;&lt;&gt;&quot;'");
}
