// One HTML file that holds everything: text, tables, pictures as base64, plots as SVG. Nothing from the network, and no scripts but the one that
// sorts tables.
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

class HtmlReport {
 public:
  explicit HtmlReport(std::string_view title, std::string_view subtitle = "");  // an empty title: a section for embed() of another page

  // Each call adds below what is there. Text is escaped.
  void heading(std::string_view text);
  void subheading(std::string_view text);
  void paragraph(std::string_view text);
  void preformatted(std::string_view text, std::string_view summary = "");  // folded away under the summary when there is one
  void table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows, std::string_view caption = "");
  // The same, sorted by a click on a heading, and the other way by a second one. keys[row][column]: what a cell is sorted by, a number where it reads as
  // one, else a text; empty ones go last. Without scripts the rows stay in their order.
  void sortable_table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows, const std::vector<std::vector<std::string>>& keys,
                      std::string_view caption = "");
  void png(std::string_view bytes, std::string_view caption = "", int scale = 1);  // scale 3: each pixel 3x3, with hard edges
  void plot(const Plot& plot);
  void plots(const std::vector<Plot>& plots);  // side by side where the window is wide enough
  void dots(const std::vector<DotPlot>& plots);  // likewise
  // SVG text as svg_scatter, svg_paths, svg_arrows and svg_heat give it, side by side: two on a wide window, one on a telephone.
  void pictures(const std::vector<std::string>& svgs);
  void figures(const std::vector<Figure>& figures);  // likewise, each with a caption below it
  void embed(std::string_view section);              // the section() of another report, as it is

  std::string section() const { return body_; }  // all that was added
  std::string html() const;                      // the whole file

 private:
  std::string title_, body_;
  bool sorts_ = false;                               // a table of the page can be sorted
};

}  // namespace fm
