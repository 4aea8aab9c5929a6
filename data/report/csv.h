// Reading metrics.csv and its like: a heading line, then rows; cells are never quoted.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/report/svg_plot.h"

namespace fm {

// The cells of one line, views into it. A line of n commas has n + 1 cells; an empty one has one that is empty.
std::vector<std::string_view> csv_cells(std::string_view line);

// Names of the columns of a CSV text.
std::vector<std::string> csv_columns(std::string_view csv);

// Two columns as a curve; rows without either number are left out. Throws FileError when a column is not there, and lists those that are.
Curve csv_curve(std::string_view csv, std::string_view x_column, std::string_view y_column, std::string name = "");

// Exponential mean over about `span` points, unbiased at the start: for noisy losses.
Curve smoothed(const Curve& curve, double span, std::string name);

}  // namespace fm
