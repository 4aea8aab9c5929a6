#include "flowmap/training/sample_curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "flowmap/metrics/frechet.h"
#include "flowmap/metrics/series.h"
#include "flowmap/path.h"
#include "tensor/error.h"

namespace fm {
namespace {

constexpr std::size_t shown_samples = 3;
constexpr std::int64_t shown_channels = 3, most_lags = 129, most_frequencies = 65;
constexpr std::int64_t most_values = std::int64_t{1} << 24;           // largest number of values of a set from which statistics are computed
constexpr int plot_width = 420, plot_height = 260;                              // pixels; small, so that letters stay readable on a telephone

// How samples of any shape are divided into channels of a length.
struct CurveLayout {
  std::int64_t channels, length;
  bool sequence;                         // neighboring values are neighbors in time or space, so lags and frequencies have a meaning
  bool curves;                           // single samples are plotted as curves
  const char* axis;

  bool few_numbers() const { return channels == 1 && length <= 3 && !sequence; }
};

CurveLayout curve_layout(const Shape& sample) {
  if (sample.rank() == 1) return {1, sample[0], false, true, "element"};
  if (sample.rank() == 2) return {sample[0], sample[1], true, true, "position"};
  return {sample[0], sample.numel() / sample[0], false, false, "position, row by row"};
}

// One of the sets that are compared.
struct Shown {
  std::string name;
  Tensor x;                              // f64 (n, channels, length) on the CPU
  const std::vector<std::int64_t>& labels;
};

std::vector<Shown> shown(const std::vector<NamedSamples>& sets, const CurveLayout& layout) {
  std::vector<Shown> out;
  for (const NamedSamples& set : sets)
    out.push_back({set.name, set.values.to(Device{}).to(DType::f64).contiguous().reshape({set.values.dim(0), layout.channels, layout.length}), set.labels});
  return out;
}

// Returns row number `row` of x, whose last dimension is the length. For samples (n, channels, length), row i * channels + c is channel c of sample i.
std::vector<double> row_of(const Tensor& x, std::int64_t row) {
  const std::int64_t length = x.dim(-1);
  const double* from = x.data<double>() + row * length;
  return {from, from + length};
}

Curve curve_of(std::string name, std::vector<double> y, bool dots) {
  Curve curve{.name = std::move(name), .x = {}, .y = std::move(y), .dashed = false, .markers = dots};
  for (std::size_t i = 0; i < curve.y.size(); ++i) curve.x.push_back(static_cast<double>(i));
  return curve;
}

struct Range {
  double low = INFINITY, high = -INFINITY;
  void add(const std::vector<double>& values) {
    for (const double v : values)
      if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
  }
  double size() const { return high > low ? high - low : 1; }
};

// Gives plots that are compared the same range of y: that of all curves, but at most the data's range (the first plot) extended by its size on each side.
void share_range(std::vector<Plot>& plots) {
  Range data, all;
  for (const Curve& c : plots.front().curves) data.add(c.y);
  for (const Plot& p : plots)
    for (const Curve& c : p.curves) all.add(c.y);
  if (!(data.low <= data.high)) return;
  const double low = std::max(all.low, data.low - data.size()), high = std::min(all.high, data.high + data.size()), margin = 0.05 * std::max(high - low, 1e-9);
  for (Plot& p : plots) p.y_low = low - margin, p.y_high = high + margin;
}

// Returns the rows of the first sample of each of the lowest labels, then further rows.
std::vector<std::int64_t> rows_to_show(const Shown& set) {
  std::vector<std::int64_t> rows;
  const std::int64_t n = set.x.dim(0);
  for (std::int64_t label = 0; rows.size() < shown_samples && label < std::int64_t{shown_samples}; ++label) {
    const auto found = std::find(set.labels.begin(), set.labels.end(), label);
    if (found != set.labels.end()) rows.push_back(found - set.labels.begin());
  }
  for (std::int64_t i = 0; i < n && rows.size() < shown_samples; ++i)
    if (std::find(rows.begin(), rows.end(), i) == rows.end()) rows.push_back(i);
  return rows;
}

std::string name_of_row(const Shown& set, std::int64_t row, const std::vector<std::string>& class_names) {
  if (set.labels.empty()) return fmt::format("sample {}", row + 1);
  const std::int64_t label = set.labels[static_cast<std::size_t>(row)];
  return label >= 0 && label < std::ssize(class_names) ? class_names[static_cast<std::size_t>(label)] : fmt::format("label {}", label);
}

std::string channel_text(const CurveLayout& layout, std::int64_t c) { return layout.channels > 1 ? fmt::format(", channel {}", c) : ""; }

PlotGroup samples_group(const std::vector<Shown>& all, const CurveLayout& layout, const std::vector<std::string>& class_names) {
  PlotGroup group{.heading = "Samples beside data", .text = "A few samples of each set. All plots of a channel have the same scale.", .plots = {}};
  for (std::int64_t c = 0; c < std::min(layout.channels, shown_channels); ++c) {
    std::vector<Plot> plots;
    for (const Shown& one : all) {
      Plot plot{.title = one.name + channel_text(layout, c), .x_label = layout.axis, .y_label = "value", .curves = {}, .width = plot_width, .height = plot_height};
      for (const std::int64_t i : rows_to_show(one))
        plot.curves.push_back(curve_of(name_of_row(one, i, class_names), row_of(one.x, i * layout.channels + c), !layout.sequence));
      plots.push_back(std::move(plot));
    }
    share_range(plots);
    group.plots.insert(group.plots.end(), plots.begin(), plots.end());
  }
  return group;
}

// For each of up to three numbers of a sample, plots its sorted values over the share of samples with lower values.
PlotGroup quantiles_group(const std::vector<Shown>& all, const CurveLayout& layout) {
  PlotGroup group{.heading = "Quantiles", .text = "For each number, the value below which a share of the samples lies.", .plots = {}};
  for (std::int64_t d = 0; d < layout.length; ++d) {
    Plot plot{.title = fmt::format("element {}", d), .x_label = "share of samples", .y_label = "value", .curves = {}, .width = plot_width, .height = plot_height};
    for (const Shown& one : all) {
      std::vector<double> sorted = one.x.select(2, d).to_vector<double>();
      std::erase_if(sorted, [](double v) { return !std::isfinite(v); });
      if (sorted.empty()) continue;
      std::sort(sorted.begin(), sorted.end());
      Curve curve{.name = one.name, .x = {}, .y = {}};
      for (int k = 0; k <= 100; ++k) {
        curve.x.push_back(k / 100.0);
        curve.y.push_back(sorted[static_cast<std::size_t>(static_cast<double>(sorted.size() - 1) * k / 100.0)]);
      }
      plot.curves.push_back(std::move(curve));
    }
    group.plots.push_back(std::move(plot));
  }
  return group;
}

struct Measured {
  std::string name;
  SeriesStatistics s;
};

struct Statistic {
  Tensor SeriesStatistics::*values;
  const char *title, *axis;
  double low, high;                      // the plot's range of y contains at least these
};

// Adds plots of one of the statistics, one plot for each channel, with a curve for each set. The data's curve is dashed.
void add_statistic(PlotGroup& group, const std::vector<Measured>& all, const CurveLayout& layout, const Statistic& which) {
  for (std::int64_t c = 0; c < std::min(layout.channels, shown_channels); ++c) {
    Plot plot{.title = which.title + channel_text(layout, c), .x_label = which.axis, .y_label = which.title, .curves = {}, .width = plot_width, .height = plot_height};
    Range range{which.low, which.high};
    for (const Measured& one : all) {
      plot.curves.push_back(curve_of(one.name, row_of(one.s.*which.values, c), layout.length <= 32 && !layout.sequence));
      plot.curves.back().dashed = &one == &all.front();
      range.add(plot.curves.back().y);
    }
    const double margin = 0.05 * range.size();
    plot.y_low = range.low - margin, plot.y_high = range.high + margin;
    group.plots.push_back(std::move(plot));
  }
}

double deviation_of(const SeriesStatistics& s) {
  double variance = 0;
  for (const double v : s.variance.to_vector<double>()) variance += v;
  return std::sqrt(variance / static_cast<double>(s.variance.numel()));
}

std::vector<PlotGroup> statistics_groups(const std::vector<Shown>& all, const CurveLayout& layout, std::int64_t rows) {
  std::vector<Measured> measured;
  for (const Shown& one : all)
    if (const Tensor x = first_rows(one.x, std::min(one.x.dim(0), rows)); first_row_not_finite(x) < 0)
      measured.push_back({one.name, series_statistics(x, std::min(most_lags, layout.length / 2 + 1), most_frequencies)});
  if (measured.empty()) return {};
  const double some = 0.5 * deviation_of(measured.front().s);
  PlotGroup moments{.heading = "Mean and spread", .text = "Mean and variance over the samples of each set, by " + std::string(layout.axis) + ". The dashed curve is the data's.", .plots = {}};
  add_statistic(moments, measured, layout, {&SeriesStatistics::mean, "mean", layout.axis, -some, some});
  add_statistic(moments, measured, layout, {&SeriesStatistics::variance, "variance", layout.axis, 0, 0});
  if (!layout.sequence || layout.length < 2) return {moments};
  PlotGroup spectra{.heading = "Autocorrelation and power", .text = "", .plots = {}};
  spectra.text = "Autocorrelation: the correlation of values that lie a lag apart, around the mean of their position. Power: the power by the number of periods in the length; a sine of amplitude A has the power A^2/2.";
  add_statistic(spectra, measured, layout, {&SeriesStatistics::correlation, "autocorrelation", "lag", 0, 1});
  add_statistic(spectra, measured, layout, {&SeriesStatistics::power, "power", "frequency", 0, 0});
  return {moments, spectra};
}

void check(const std::vector<NamedSamples>& sets) {
  for (const NamedSamples& set : sets) {
    const std::string text = "sample_curves: '" + set.name + "': ";
    if (!set.values.defined() || set.values.rank() < 2 || set.values.dim(0) < 2 || set.values.numel() == 0)
      throw ShapeError(text + (set.values.defined() ? to_string(set.values.shape()) : "undefined") + ": needs 2 or more samples (n, ...) with values");
    if (set.values.shape().without(0) != sets.front().values.shape().without(0))
      throw ShapeError(fmt::format("{}{}: samples of another shape than {} of '{}'", text, to_string(set.values.shape()), to_string(sets.front().values.shape()), sets.front().name));
    if (!set.labels.empty() && std::ssize(set.labels) != set.values.dim(0))
      throw ShapeError(fmt::format("{}{} labels for {} samples", text, set.labels.size(), set.values.dim(0)));
  }
}

}  // namespace

std::int64_t rows_for_curves(const Shape& sample) { return std::max<std::int64_t>(2, most_values / std::max<std::int64_t>(1, sample.numel())); }

std::vector<PlotGroup> sample_curves(const std::vector<NamedSamples>& sets, const std::vector<std::string>& class_names) {
  check(sets);
  if (sets.empty()) return {};
  const Shape sample = sets.front().values.shape().without(0);
  const CurveLayout layout = curve_layout(sample);
  const std::vector<Shown> all = shown(sets, layout);
  if (layout.few_numbers()) return {quantiles_group(all, layout)};
  std::vector<PlotGroup> groups;
  if (layout.curves) groups.push_back(samples_group(all, layout, class_names));
  for (PlotGroup& group : statistics_groups(all, layout, rows_for_curves(sample))) groups.push_back(std::move(group));
  return groups;
}

void add_curves(HtmlReport& page, const std::vector<PlotGroup>& groups) {
  for (const PlotGroup& group : groups) {
    page.subheading(group.heading);
    if (!group.text.empty()) page.paragraph(group.text);
    page.plots(group.plots);
  }
}

}  // namespace fm
