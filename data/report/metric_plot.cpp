#include "data/report/metric_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace fm {
namespace {

constexpr std::size_t shown_points = 240, few_points = 30;
constexpr double low_part = 0.1, high_part = 0.9;

struct KnownMetric {
  const char *column, *title;
};
// In the order of the report.
constexpr KnownMetric telling[] = {{"raw_mse", "mean square error before the metric"},
                                   {"loss", "loss"},
                                   {"raw_mse_off_diagonal", "mean square error before the metric, rows with s < t"},
                                   {"raw_mse_diagonal", "mean square error before the metric, rows with s = t"},
                                   {"l1", "mean absolute error of pixels"},
                                   {"feature_loss", "distance of features"},
                                   {"accuracy", "accuracy (0 to 1)"},
                                   {"derivative_ratio", "size of the derivative, |du/dt| / |u|"},
                                   {"grad_norm", "norm of the gradients"},
                                   {"grad_norm_max", "largest norm of the gradients since the previous row"},
                                   {"explosions", "explosions so far"}};
constexpr KnownMetric machine[] = {{"off_diagonal_share", "rows with s < t (share, 0 to 1)"},
                                   {"masked_share", "rows left out as not finite (share, 0 to 1)"},
                                   {"clamped_share", "rows with a clamped derivative (share, 0 to 1)"},
                                   {"lr", "learning rate"},
                                   {"samples_per_second", "speed (samples/s)"},
                                   {"memory_mib", "memory of the process (MiB)"},
                                   {"tensor_peak_mib", "peak memory of tensors (MiB)"},
                                   {"tensor_held_mib", "peak memory of tensors, including memory kept for reuse (MiB)"}};

template <std::size_t n> const KnownMetric* known(const KnownMetric (&list)[n], std::string_view column) {
  const auto found = std::find_if(list, list + n, [&](const KnownMetric& m) { return column == m.column; });
  return found == list + n ? nullptr : found;
}

// Interpolates linearly between neighboring values. `sorted` has at least one value.
double quantile(const std::vector<double>& sorted, double part) {
  const double place = part * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

struct Window {
  double mean, lowest, low, high, highest;
};

Window window_of(const std::vector<double>& y, std::size_t first, std::size_t end) {
  std::vector<double> values;
  for (std::size_t i = first; i < end; ++i)
    if (std::isfinite(y[i])) values.push_back(y[i]);
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  if (values.empty()) return {none, none, none, none, none};
  std::sort(values.begin(), values.end());
  double sum = 0;
  for (const double v : values) sum += v;
  const double mean = std::clamp(sum / static_cast<double>(values.size()), values.front(), values.back());      // rounding must not move it out of the band
  return {mean, values.front(), quantile(values, low_part), quantile(values, high_part), values.back()};
}

// Lowest and highest finite value of all; low > high if there is none.
struct MetricRange {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
};

MetricRange range_of(const std::vector<Curve>& curves) {
  MetricRange range;
  for (const Curve& curve : curves)
    for (const double y : curve.y)
      if (std::isfinite(y)) range.low = std::min(range.low, y), range.high = std::max(range.high, y);
  return range;
}

}  // namespace

Curve windowed(const Curve& curve, std::size_t window, std::string name) {
  Curve out{.name = std::move(name), .dashed = curve.dashed, .markers = curve.markers, .bands = {2, CurveBand{}}};
  const std::size_t n = std::min(curve.x.size(), curve.y.size()), half = window / 2;
  const std::size_t count = std::min(n, shown_points);
  for (std::size_t k = 0; k < count; ++k) {
    const std::size_t i = count == n ? k : (2 * k * (n - 1) + (count - 1)) / (2 * (count - 1));
    const Window w = window_of(curve.y, i - std::min(i, half), std::min(n, i + half + 1));
    out.x.push_back(curve.x[i]), out.y.push_back(w.mean);
    out.bands[0].low.push_back(w.lowest), out.bands[0].high.push_back(w.highest);
    out.bands[1].low.push_back(w.low), out.bands[1].high.push_back(w.high);
  }
  return out;
}

std::size_t metric_window(std::size_t points) { return points <= few_points ? 1 : std::max<std::size_t>(5, points / 15) | 1; }

std::vector<std::string> metrics_in_order(const std::vector<std::string>& columns) {
  std::vector<std::string> out;
  const auto has = [&](std::string_view name) { return std::find(columns.begin(), columns.end(), name) != columns.end(); };
  for (const KnownMetric& m : telling)
    if (has(m.column)) out.emplace_back(m.column);
  for (const std::string& column : columns)
    if (!column.empty() && column != "step" && column != "time" && known(telling, column) == nullptr && known(machine, column) == nullptr) out.push_back(column);
  for (const KnownMetric& m : machine)
    if (has(m.column)) out.emplace_back(m.column);
  return out;
}

std::string metric_title(std::string_view column) {
  if (const KnownMetric* m = known(telling, column)) return m->title;
  if (const KnownMetric* m = known(machine, column)) return m->title;
  std::string title(column);
  std::replace(title.begin(), title.end(), '_', ' ');
  return title;
}

bool is_constant(const Curve& curve) {
  return !curve.y.empty() && std::all_of(curve.y.begin(), curve.y.end(), [&](double y) { return y == curve.y.front(); });
}

Plot metric_plot(const std::string& column, const std::vector<Curve>& curves) {
  Plot plot{.title = metric_title(column), .x_label = "step", .y_label = column};
  const MetricRange all = range_of(curves);
  plot.log_y = needs_log_axis(all.low, all.high);
  const double size = std::max(std::abs(all.low), std::abs(all.high));
  if (all.low < all.high && all.high - all.low < 1e-3 * size) plot.y_low = all.low - 0.05 * size, plot.y_high = all.high + 0.05 * size;
  for (const Curve& curve : curves) {
    const std::size_t window = metric_window(curve.y.size());
    Curve shown = window > 1 ? windowed(curve, window, curve.name) : curve;
    shown.markers = window == 1;
    if (curves.size() > 1 && !shown.bands.empty()) shown.bands.erase(shown.bands.begin());      // the wide bands of several curves would cover each other
    plot.curves.push_back(std::move(shown));
  }
  return plot;
}

}  // namespace fm
