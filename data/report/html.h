// One self-contained HTML file: text, tables, images as base64, plots as SVG. It loads nothing from the network. Two short scripts sort tables and
// show the values of curves under the pointer. Without scripts the page shows the same tables and plots.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/report/svg_dots.h"
#include "data/report/svg_plot.h"

namespace fm {

std::string escape_html(std::string_view text);
std::string base64(std::string_view bytes);

struct Figure {
  std::string svg, caption;
};

struct PngFigure {
  std::string bytes, caption;
};

struct Link {
  std::string text, file;                // relative to the page
};

class HtmlReport {
 public:
  explicit HtmlReport(std::string_view title, std::string_view subtitle = "");  // empty title: only a section, for embed() of another page

  // Each call appends to the page. Text is escaped.
  void heading(std::string_view text);
  void subheading(std::string_view text);
  void paragraph(std::string_view text);
  void links(std::string_view before, const std::vector<Link>& links);          // "before a, b, c"; adds nothing if `links` is empty
  void preformatted(std::string_view text, std::string_view summary = "");  // collapsed under the summary if there is one
  // A column of numbers (or empty cells, or "-") is right-aligned, with its heading.
  void table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows, std::string_view caption = "");
  // A table that is sorted by a click on a heading, and in reverse by a second click. keys[row][column]: the sort key of a cell, a number if it parses as
  // one, else a text; empty keys go last. Without scripts the rows stay in their order.
  void sortable_table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows, const std::vector<std::vector<std::string>>& keys,
                      std::string_view caption = "");
  void png(std::string_view bytes, std::string_view caption = "", int scale = 1);  // scale 3: each pixel 3x3, with hard edges
  void images(const std::vector<PngFigure>& pictures);  // side by side where the window is wide enough
  void strip(const std::vector<PngFigure>& pictures);  // side by side in one row that scrolls
  void plot(const Plot& plot);                   // as wide as the page
  // Side by side where the window is wide enough. A plot of the default size is drawn for that width, so that its letters stay readable.
  void plots(const std::vector<Plot>& plots);
  void dots(const std::vector<DotPlot>& plots);
  // SVG texts of svg_scatter, svg_paths, svg_arrows and svg_heat, side by side: two in a row on a wide window, one on a telephone.
  void pictures(const std::vector<std::string>& svgs);
  void figures(const std::vector<Figure>& figures);  // likewise, each with a caption below it
  void embed(std::string_view section);              // the section() of another report, as it is

  std::string section() const { return body_; }  // all content so far
  std::string html() const;                      // the whole file

 private:
  std::string title_, body_;
};

}  // namespace fm
