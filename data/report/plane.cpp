// Range, axes, legend and notes of a plot of the plane.
#include "data/report/plane.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "data/report/html.h"
#include "data/report/svg_plot.h"

namespace fm {
namespace {

constexpr double view = 400, left = 50, right = 14, top = 30, bottom = 44;
constexpr double letter = 6.8, line = 18;                                // width of an average character at 12 px; height of a legend's row
constexpr double flattest = 0.45, tallest = 1.25;                        // height of the area over its width

struct Range {
  double low, high;
};

Range fitted(double low, double high, const std::vector<double>& values) {
  if (low < high) return {low, high};
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (const double v : values)
    if (std::isfinite(v)) least = std::min(least, v), most = std::max(most, v);
  if (!(least <= most)) return {-1, 1};
  const double extra = most > least ? 0.04 * (most - least) : 0.5 + 0.1 * std::abs(most);
  return {least - extra, most + extra};
}

// The range of this length with the same middle.
Range widened(const Range& r, double length) { return {(r.low + r.high - length) / 2, (r.low + r.high + length) / 2}; }

}  // namespace

std::string pixels(double value) {
  std::string text = fmt::format("{:.1f}", value);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

Plane::Plane(const PlaneFrame& frame, const std::vector<double>& xs, const std::vector<double>& ys) : frame_(frame) {
  Range x = fitted(frame.x_low, frame.x_high, xs), y = fitted(frame.y_low, frame.y_high, ys);
  const double x_length = x.high - x.low, y_length = y.high - y.low;
  if (y_length < flattest * x_length) y = widened(y, flattest * x_length);
  if (y_length > tallest * x_length) x = widened(x, y_length / tallest);
  x_low_ = x.low, x_high_ = x.high, y_low_ = y.low, y_high_ = y.high;
  width_ = view - left - right;
  scale_ = width_ / (x_high_ - x_low_);
  height_ = scale_ * (y_high_ - y_low_);
}

bool Plane::shows(double x, double y) const {
  return std::isfinite(x) && std::isfinite(y) && x >= x_low_ && x <= x_high_ && y >= y_low_ && y <= y_high_;
}

void Plane::below(std::string svg, double height) {
  below_ += fmt::format("<g transform=\"translate({} {})\">{}</g>\n", left, pixels(top + height_ + bottom + below_height_), svg);
  below_height_ += height;
}

std::string Plane::axes() const {
  std::string out;
  const double under = top + height_;
  for (const double tick : axis_ticks(x_low_, x_high_, 5, false)) {
    out += fmt::format("<line class=\"grid\" x1=\"{0}\" x2=\"{0}\" y1=\"{1}\" y2=\"{2}\"/>", pixels(left + x(tick)), top, pixels(under));
    out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{:.4g}</text>\n", pixels(left + x(tick)), pixels(under + 15), tick);
  }
  for (const double tick : axis_ticks(y_low_, y_high_, 5, false)) {
    out += fmt::format("<line class=\"grid\" x1=\"{0}\" x2=\"{1}\" y1=\"{2}\" y2=\"{2}\"/>", left, pixels(left + width_), pixels(top + y(tick)));
    out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{:.4g}</text>\n", left - 5, pixels(top + y(tick) + 4), tick);
  }
  out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", pixels(left + width_ / 2), pixels(under + 34), escape_html(frame_.x_label));
  out += fmt::format("<text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n", pixels(top + height_ / 2),
                     escape_html(frame_.y_label));
  return out;
}

std::string Plane::svg() const {
  std::string out = axes();
  out += fmt::format("<svg x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" overflow=\"hidden\">\n{}</svg>\n", left, top, pixels(width_), pixels(height_), marks_);
  out += fmt::format("<rect class=\"frame\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n", left, top, pixels(width_), pixels(height_)) + below_;
  double x_at = left, y_at = top + height_ + bottom + below_height_ + 10;
  for (const Entry& entry : legend_) {
    const double length = 30 + letter * static_cast<double>(entry.name.size());
    if (x_at > left && x_at + length > view - right) x_at = left, y_at += line;
    out += fmt::format("<g transform=\"translate({} {})\">{}</g>", pixels(x_at + 11), pixels(y_at - 4), entry.mark);
    out += fmt::format("<text x=\"{}\" y=\"{}\">{}</text>\n", pixels(x_at + 26), pixels(y_at), escape_html(entry.name));
    x_at += length + 10;
  }
  if (legend_.empty()) y_at -= line;
  for (const std::string& text : notes_) out += fmt::format("<text class=\"note\" x=\"{}\" y=\"{}\">{}</text>\n", left, pixels(y_at += line), escape_html(text));
  const double height = legend_.empty() && notes_.empty() ? top + height_ + bottom + below_height_ : y_at + 8;
  return fmt::format("<svg class=\"plot\" viewBox=\"0 0 {} {}\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\">\n", view, pixels(height)) +
         fmt::format("<text class=\"title\" x=\"{}\" y=\"19\" text-anchor=\"middle\">{}</text>\n", view / 2, escape_html(frame_.title)) + out + "</svg>\n";
}

std::string standalone_svg(const std::string& svg) {
  constexpr std::string_view style =
      "<style>svg.plot { color-scheme: light dark; --ink: #1c2024; --soft: #667; --line: #d5d9df; --ground: #fff; background: var(--ground); }\n"
      "@media (prefers-color-scheme: dark) { svg.plot { --ink: #e4e7eb; --soft: #9aa3ad; --line: #3a4048; --ground: #15181c; } }\n"
      "text { font: 12px system-ui, sans-serif; fill: var(--ink); } .title { font-size: 14px; font-weight: 600; } .grid { stroke: var(--line); }\n"
      ".frame { fill: none; stroke: var(--soft); } .ink { stroke: var(--ink); } .note { fill: var(--soft); }\n"
      ".legend { fill: var(--ground); fill-opacity: .85; stroke: var(--line); }</style>\n";
  const std::size_t end = svg.find('>');
  if (end == std::string::npos) return svg;
  return svg.substr(0, end + 1) + "\n" + std::string(style) + svg.substr(end + 1);
}

}  // namespace fm
