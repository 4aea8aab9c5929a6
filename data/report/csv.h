// CSV in two forms. metrics.csv and its like: a heading line, then rows whose cells are never quoted, read as views. Tables that hold text:
// RFC 4180, where a cell with a comma, a quote or a line break stands in quotes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/report/svg_plot.h"

namespace fm {

// The cells of one line, views into it. A line of n commas has n + 1 cells; an empty one has one that is empty.
std::vector<std::string_view> csv_cells(std::string_view line);

// A whole RFC 4180 text as rows of cells; empty lines are left out. FileError where a quoted cell does not end.
using CsvRows = std::vector<std::vector<std::string>>;
CsvRows parse_csv(std::string_view text);
// One row as a line with its line break; cells are quoted where they must be.
std::string csv_line(const std::vector<std::string>& cells);

// Names of the columns of a CSV text.
std::vector<std::string> csv_columns(std::string_view csv);

// Two columns as a curve; rows without either number are left out, and so is a last line without its end (a
// program is writing it). Throws FileError if a column is missing, and lists the existing ones.
Curve csv_curve(std::string_view csv, std::string_view x_column, std::string_view y_column, std::string name = "");

}  // namespace fm
