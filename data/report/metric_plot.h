// Plots of the columns of metrics.csv: noisy numbers of single steps as means of windows with bands, titles and units in words, the telling ones first.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "data/report/svg_plot.h"

namespace fm {

// Around each point the mean of the `window` points of which it is the middle (fewer at the ends), with two bands: from the lowest to the highest of
// them, and from their 10 % to their 90 % quantile. At most 240 points, at equal distances, the last one included. Values that are not finite are left
// out; a window without others is a gap. An even window counts as the next odd one.
Curve windowed(const Curve& curve, std::size_t window, std::string name);

// The window that metric_plot takes for a curve of so many points: a fifteenth of them, at least 5; 1 up to 30 points, which are shown one by one.
std::size_t metric_window(std::size_t points);

// The columns without step and time: those that show how training goes come first (the error before an adaptive metric, then the loss), then gradients, then
// columns that this list does not know in their order, and the speed and memory of the machine last.
std::vector<std::string> metrics_in_order(const std::vector<std::string>& columns);

// What a column is, with its unit: "raw_mse" -> "mean square error before the metric", "memory_mib" -> "memory of the process (MiB)".
std::string metric_title(std::string_view column);

// One metric of one training, or of several (their names make the legend), over the step. The axis is logarithmic where all values are positive and span a
// factor of 30. Values that agree to a thousandth are drawn flat.
Plot metric_plot(const std::string& column, const std::vector<Curve>& curves);

// All curves have one value, the same at every point.
bool is_constant(const Curve& curve);

}  // namespace fm
