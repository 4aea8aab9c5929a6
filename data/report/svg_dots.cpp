#include "data/report/svg_dots.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/report/html.h"
#include "data/report/svg_plot.h"

namespace fm {
namespace {

constexpr double dots_right = 20, dots_top = 34, dots_bottom = 46, dots_row_height = 24;
constexpr double dots_letter = 7;  // width of an average character at 12 px

struct DotScale {
  double low, high, first_pixel, last_pixel;
  bool log;
  double pixel(double v) const {
    const double part = log ? std::log(v / low) / std::log(high / low) : (v - low) / (high - low);
    return first_pixel + part * (last_pixel - first_pixel);
  }
};

std::vector<double> shown(const DotPlot& plot, const DotRow& row) {
  std::vector<double> values = row.values;
  std::erase_if(values, [&](double v) { return !std::isfinite(v) || (plot.log_x && v <= 0); });
  return values;
}

bool on_log_axis(const DotPlot& plot) {
  std::vector<double> all;
  for (const DotRow& row : plot.rows)
    for (double v : shown(plot, row)) all.push_back(v);
  return plot.log_x || (!all.empty() && needs_log_axis(*std::min_element(all.begin(), all.end()), *std::max_element(all.begin(), all.end())));
}

// A twentieth of the range is left free at both ends. Equal values get a range around them.
DotScale fit(const DotPlot& plot, double first_pixel, double last_pixel) {
  std::vector<double> all;
  for (const DotRow& row : plot.rows)
    for (double v : shown(plot, row)) all.push_back(v);
  double low = plot.log_x ? 1 : 0, high = plot.log_x ? 10 : 1;
  if (!all.empty()) low = *std::min_element(all.begin(), all.end()), high = *std::max_element(all.begin(), all.end());
  const bool flat = high - low <= 1e-9 * std::max(std::abs(low), std::abs(high));
  if (plot.log_x) {
    const double factor = flat ? 2 : std::pow(high / low, 0.05);
    low /= factor, high *= factor;
  } else {
    const double extra = flat ? flat_margin(low) : 0.05 * (high - low);
    low -= extra, high += extra;
  }
  return {low, high, first_pixel, last_pixel, plot.log_x};
}

std::string dots_of(const DotPlot& plot, const DotRow& row, const DotScale& x, double y) {
  const std::vector<double> values = shown(plot, row);
  if (values.empty()) return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">-</text>\n", x.first_pixel + 4, y + 4);
  std::string out;
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  if (values.size() > 1)
    out += fmt::format("<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\" stroke=\"#d55e00\" stroke-width=\"2.5\"/>\n",
                       x.pixel(mean), y - 8, y + 8);
  for (double v : values)
    out += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"#0072b2\" fill-opacity=\"0.75\"><title>{}: {:.6g}</title></circle>\n",
                       x.pixel(v), y, escape_html(row.name), v);
  return out;
}

}  // namespace

std::string svg_dots(const DotPlot& given) {
  DotPlot plot = given;
  plot.log_x = on_log_axis(given);
  std::size_t longest = 4;
  for (const DotRow& row : plot.rows) longest = std::max(longest, row.name.size());
  const double left = std::min(0.45 * plot.width, 16 + dots_letter * static_cast<double>(longest));
  const double last = dots_top + dots_row_height * static_cast<double>(plot.rows.size());
  const DotScale x = fit(plot, left, plot.width - dots_right);
  std::string out = fmt::format("<svg class=\"plot\" viewBox=\"0 0 {} {:.0f}\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\">\n",
                                plot.width, last + dots_bottom);
  out += fmt::format("<text class=\"title\" x=\"{}\" y=\"20\" text-anchor=\"middle\">{}</text>\n", plot.width / 2, escape_html(plot.title));
  for (double tick : axis_ticks(x.low, x.high, 6, plot.log_x)) {
    out += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>", x.pixel(tick), dots_top, last);
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:.4g}</text>\n", x.pixel(tick), last + 16, tick);
  }
  out += fmt::format("<rect class=\"frame\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>\n", left, dots_top,
                     x.last_pixel - left, last - dots_top);
  for (std::size_t i = 0; i < plot.rows.size(); ++i) {
    const double y = dots_top + dots_row_height * (static_cast<double>(i) + 0.5);
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", left - 6, y + 4, escape_html(plot.rows[i].name));
    out += dots_of(plot, plot.rows[i], x, y);
  }
  return out + fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n</svg>\n", (left + x.last_pixel) / 2,
                           last + dots_bottom - 8, escape_html(axis_label(plot.x_label, plot.log_x)));
}

}  // namespace fm
