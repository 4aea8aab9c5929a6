// Plots of the columns of metrics.csv. The noisy numbers of single steps become means over windows, with bands. Titles are words with units. The
// columns that show the progress of training come first.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "data/report/svg_plot.h"

namespace fm {

// Replaces each value by the mean of the `window` values around it (fewer at the ends) and adds two bands: the lowest to the highest of these values,
// and their 10 % to their 90 % quantile. The result has at most 240 points at equal distances, with the last one. Values that are not finite are
// ignored; a window without finite values is a gap. An even window counts as the next odd number.
Curve windowed(const Curve& curve, std::size_t window, std::string name);

// The window of metric_plot for a curve with this number of points: a fifteenth of the number, at least 5. For up to 30 points the window is 1, so each
// point is shown.
std::size_t metric_window(std::size_t points);

// Sorts the columns for a report, without step and time. First come the error before an adaptive metric, the loss and the gradients, then columns that
// this file does not know, in their order, and last shares of rows, the learning rate, and the speed and memory of the machine.
std::vector<std::string> metrics_in_order(const std::vector<std::string>& columns);

// The title of a column, with its unit: "raw_mse" -> "mean square error before the metric", "memory_mib" -> "memory of the process (MiB)".
std::string metric_title(std::string_view column);

// One metric of one training, or of several (their names make the legend), over the step. The axis is logarithmic where needs_log_axis says so.
// Values that agree to a thousandth appear as a flat line.
Plot metric_plot(const std::string& column, const std::vector<Curve>& curves);

// Whether the curve has points, all with the same value.
bool is_constant(const Curve& curve);

}  // namespace fm
