// Scales, ticks, lines, legend and tooltips of a plot.
#include "data/report/svg_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "data/report/html.h"

namespace fm {
namespace {

constexpr const char* palette[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                   "#e69f00", "#56b4e9", "#7f5fc0", "#888888"};  // Okabe and Ito
constexpr double plot_left = 64, plot_right = 16, plot_top = 34, plot_bottom = 46;                   // margins
constexpr size_t most_points = 1200;                                             // drawn per curve; longer curves are thinned, but keep their peaks
constexpr size_t most_tooltips = 150;

const char* colour(size_t index) { return palette[index % std::size(palette)]; }

// Maps values to a range of pixels.
struct Axis {
  double low, high, first_pixel, last_pixel;
  bool log_scale;

  bool fixed = false;                                                   // clips to [low, high]

  bool shows(double v) const { return std::isfinite(v) && (!log_scale || v > 0) && (!fixed || (v >= low && v <= high)); }
  double pixel(double v) const {
    const double part = log_scale ? std::log(v / low) / std::log(high / low) : (v - low) / (high - low);
    return first_pixel + part * (last_pixel - first_pixel);
  }
};

Axis fit_axis(const Plot& plot, std::vector<double> Curve::*values, bool log_scale, double first_pixel, double last_pixel, double margin) {
  Axis axis{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(), first_pixel, last_pixel, log_scale};
  const auto take = [&](const std::vector<double>& shown) {
    for (double v : shown)
      if (axis.shows(v)) axis.low = std::min(axis.low, v), axis.high = std::max(axis.high, v);
  };
  for (const Curve& curve : plot.curves) {
    take(curve.*values);
    if (values != &Curve::y) continue;
    for (const CurveBand& band : curve.bands) take(band.low), take(band.high);
  }
  if (axis.low > axis.high) axis.low = log_scale ? 1 : 0, axis.high = log_scale ? 10 : 1;  // no values
  const double size = std::max(std::abs(axis.low), std::abs(axis.high));
  const bool flat = axis.high - axis.low <= 1e-9 * size;  // constant, perhaps up to rounding: no ticks lie between
  if (log_scale) {
    if (flat) axis.low /= 2, axis.high *= 2;
    const double factor = std::pow(axis.high / axis.low, margin);
    axis.low /= factor, axis.high *= factor;
  } else {
    if (flat) axis.low -= flat_margin(axis.low), axis.high += flat_margin(axis.high);
    const double extra = (axis.high - axis.low) * margin;
    axis.low -= extra, axis.high += extra;
  }
  return axis;
}

std::string number(double v) {
  if (v != 0 && (std::abs(v) >= 1e6 || std::abs(v) < 1e-3)) return fmt::format("{:.3g}", v);
  return fmt::format("{:.6g}", v);
}

// Indices to draw: all, or the lowest and the highest point of each bucket, so that no peak is lost.
std::vector<size_t> thinned(const Curve& curve, const Axis& y) {
  const size_t n = std::min(curve.x.size(), curve.y.size());
  std::vector<size_t> kept;
  if (n <= most_points) {
    for (size_t i = 0; i < n; ++i) kept.push_back(i);
    return kept;
  }
  const size_t buckets = most_points / 2;
  for (size_t b = 0; b < buckets; ++b) {
    size_t low = n, high = n;
    for (size_t i = b * n / buckets; i < (b + 1) * n / buckets; ++i) {
      if (!y.shows(curve.y[i])) continue;
      if (low == n || curve.y[i] < curve.y[low]) low = i;
      if (high == n || curve.y[i] > curve.y[high]) high = i;
    }
    if (low == n) continue;
    kept.push_back(std::min(low, high));
    if (low != high) kept.push_back(std::max(low, high));
  }
  return kept;
}

std::string line_of(const Curve& curve, size_t index, const Axis& x, const Axis& y) {
  std::string path;
  bool pen_down = false;
  for (size_t i : thinned(curve, y)) {
    const bool shown = x.shows(curve.x[i]) && y.shows(curve.y[i]);
    if (shown) path += fmt::format("{}{:.1f} {:.1f}", pen_down ? "L" : "M", x.pixel(curve.x[i]), y.pixel(curve.y[i]));
    pen_down = shown;
  }
  return fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\" stroke-linejoin=\"round\"{}/>\n", path, colour(index),
                     curve.dashed ? " stroke-dasharray=\"5 4\"" : "");
}

// One shape for each stretch of points that can be shown. On a log axis a range that reaches down to 0 ends at the axis.
std::string band_of(const Curve& curve, const CurveBand& band, size_t index, const Axis& x, const Axis& y) {
  const size_t n = std::min({curve.x.size(), band.low.size(), band.high.size()});
  const auto shown = [&](size_t i) { return x.shows(curve.x[i]) && y.shows(band.high[i]) && std::isfinite(band.low[i]); };
  std::string path;
  for (size_t first = 0, last = 0; first < n; first = last + 1) {
    for (last = first; last < n && shown(last); ++last) {}
    for (size_t i = first; i < last; ++i) path += fmt::format("{}{:.1f} {:.1f}", i == first ? "M" : "L", x.pixel(curve.x[i]), y.pixel(band.high[i]));
    for (size_t i = last; i-- > first;) path += fmt::format("L{:.1f} {:.1f}", x.pixel(curve.x[i]), y.pixel(std::max(band.low[i], y.low)));
    if (first < last) path += "Z";
  }
  return path.empty() ? "" : fmt::format("<path d=\"{}\" fill=\"{}\" fill-opacity=\"0.18\"/>\n", path, colour(index));
}

// "0.31 (0.2 to 0.45)": the value, and the ends of the widest band.
std::string value_text(const Curve& curve, size_t i) {
  if (curve.bands.empty() || curve.bands[0].low.size() <= i || curve.bands[0].high.size() <= i) return number(curve.y[i]);
  return fmt::format("{} ({} to {})", number(curve.y[i]), number(curve.bands[0].low[i]), number(curve.bands[0].high[i]));
}

// Discs that carry the tooltips. They are invisible unless the curve has markers.
std::string points_of(const Curve& curve, size_t index, const Axis& x, const Axis& y) {
  std::string out;
  const auto kept = thinned(curve, y);
  const size_t stride = curve.markers ? 1 : std::max<size_t>(1, (kept.size() + most_tooltips - 1) / most_tooltips);
  for (size_t k = 0; k < kept.size(); k += stride) {
    const size_t i = kept[k];
    if (!x.shows(curve.x[i]) || !y.shows(curve.y[i])) continue;
    out +=
        fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" fill=\"{}\"{}><title>{}{}{}, {}</title></circle>\n", x.pixel(curve.x[i]),
                    y.pixel(curve.y[i]), curve.markers ? 3 : 5, colour(index), curve.markers ? "" : " fill-opacity=\"0\"",
                    escape_html(curve.name), curve.name.empty() ? "" : ": ", number(curve.x[i]), value_text(curve, i));
  }
  return out;
}

std::string grid(const Plot& plot, const Axis& x, const Axis& y) {
  std::string out;
  for (double tick : axis_ticks(x.low, x.high, 7, x.log_scale)) {
    out += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>", x.pixel(tick), y.first_pixel,
                       y.last_pixel);
    out +=
        fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", x.pixel(tick), y.first_pixel + 16, number(tick));
  }
  for (double tick : axis_ticks(y.low, y.high, 5, y.log_scale)) {
    out += fmt::format("<line class=\"grid\" x1=\"{1:.1f}\" x2=\"{2:.1f}\" y1=\"{0:.1f}\" y2=\"{0:.1f}\"/>", y.pixel(tick), x.first_pixel,
                       x.last_pixel);
    out +=
        fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", x.first_pixel - 6, y.pixel(tick) + 4, number(tick));
  }
  out += fmt::format("<rect class=\"frame\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>\n", x.first_pixel, y.last_pixel,
                     x.last_pixel - x.first_pixel, y.first_pixel - y.last_pixel);
  out += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", (x.first_pixel + x.last_pixel) / 2, plot.height - 8,
                     escape_html(axis_label(plot.x_label, plot.log_x)));
  out += fmt::format("<text transform=\"translate(14 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                     (y.first_pixel + y.last_pixel) / 2, escape_html(axis_label(plot.y_label, plot.log_y)));
  return out;
}

constexpr double legend_row = 16, most_of_width = 0.5;
constexpr size_t most_within = 4;

// The space of the legend: one row per curve in the upper right corner, or columns below the plot if the legend would cover the curves.
struct Legend {
  bool below = false;
  double column = 0;         // width of a name with its sample line
  size_t columns = 1, rows = 0;
  double height_below() const { return below ? legend_row * double(rows) + 8 : 0; }
};

Legend legend_of(const Plot& plot) {
  Legend legend;
  if (plot.curves.size() < 2) return legend;
  size_t longest = 0;
  for (const Curve& curve : plot.curves) longest = std::max(longest, curve.name.size());
  legend.column = 40 + 6.6 * double(longest);
  legend.below = plot.curves.size() > most_within || legend.column > most_of_width * plot.width;
  if (legend.below) legend.columns = std::max<size_t>(1, size_t(plot.width / legend.column));
  legend.rows = (plot.curves.size() + legend.columns - 1) / legend.columns;
  return legend;
}

std::string legend(const Plot& plot, const Legend& legend) {
  if (legend.rows == 0) return "";
  const double at_x = legend.below ? 0 : plot.width - plot_right - legend.column - 6, at_y = legend.below ? plot.height : plot_top + 6;
  std::string out;
  if (!legend.below)                   // on a half-transparent background
    out = fmt::format("<rect class=\"legend\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"3\"/>\n", at_x, at_y, legend.column,
                      8 + legend_row * double(plot.curves.size()));
  for (size_t i = 0; i < plot.curves.size(); ++i) {
    const double x = at_x + legend.column * double(i % legend.columns), y = at_y + 12 + legend_row * double(i / legend.columns);
    out += fmt::format("<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" stroke-width=\"2.5\"{}/>", x + 6, x + 26, y, y, colour(i),
                       plot.curves[i].dashed ? " stroke-dasharray=\"5 4\"" : "");
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", x + 32, y + 4, escape_html(plot.curves[i].name));
  }
  return out;
}

}  // namespace

std::string axis_label(const std::string& label, bool log_scale) {
  return !log_scale ? label : label.empty() ? "log scale" : label + ", log scale";
}

bool needs_log_axis(double low, double high) { return low > 0 && high > 30 * low; }

double flat_margin(double value) { return value == 0 ? 0.5 : 0.5 * std::abs(value); }

std::vector<double> axis_ticks(double low, double high, int count, bool log_scale) {
  std::vector<double> ticks;
  if (log_scale) {
    const int first = int(std::floor(std::log10(low))), last = int(std::ceil(std::log10(high)));
    const int stride = std::max(1, (last - first) / (count + 1));
    for (int e = first; e <= last; e += stride)
      for (double m : {1.0, 2.0, 5.0})
        if (const double tick = m * std::pow(10.0, e); tick >= low && tick <= high && (m == 1 || last - first <= 3)) ticks.push_back(tick);
    if (ticks.size() >= 2) return ticks;  // else the axis has less than a third of a decade: linear ticks show more
    ticks.clear();
  }
  const double raw = (high - low) / std::max(1, count);
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  const double step = power * (raw / power < 1.5 ? 1 : raw / power < 3.5 ? 2 : raw / power < 7.5 ? 5 : 10);
  const double first = std::ceil(low / step - 1e-9);
  for (int i = 0; i <= 2 * count; ++i) {  // counted: if k + 1 rounds to k, a loop over k would not end
    const double k = first + i, tick = k == 0 ? 0 : k * step;
    if (!(tick <= high + step * 1e-9)) break;
    if (ticks.empty() || tick > ticks.back()) ticks.push_back(tick);
  }
  return ticks;
}

std::string svg_plot(const Plot& plot) {
  const Axis x = fit_axis(plot, &Curve::x, plot.log_x, plot_left, plot.width - plot_right, 0);
  Axis y = fit_axis(plot, &Curve::y, plot.log_y, plot.height - plot_bottom, plot_top, 0.05);
  if (plot.y_low < plot.y_high) y.low = plot.y_low, y.high = plot.y_high, y.fixed = true;
  const Legend names = legend_of(plot);
  std::string out = fmt::format("<svg class=\"plot\" viewBox=\"0 0 {} {}\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\">\n",
                                plot.width, plot.height + names.height_below());
  out += fmt::format("<text class=\"title\" x=\"{}\" y=\"20\" text-anchor=\"middle\">{}</text>\n", plot.width / 2, escape_html(plot.title));
  out += grid(plot, x, y);
  for (size_t i = 0; i < plot.curves.size(); ++i)
    for (const CurveBand& band : plot.curves[i].bands) out += band_of(plot.curves[i], band, i, x, y);
  for (size_t i = 0; i < plot.curves.size(); ++i) out += line_of(plot.curves[i], i, x, y);
  for (size_t i = 0; i < plot.curves.size(); ++i) out += points_of(plot.curves[i], i, x, y);
  return out + legend(plot, names) + "</svg>\n";
}

}  // namespace fm
