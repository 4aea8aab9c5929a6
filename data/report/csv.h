// CSV in two forms. metrics.csv and similar files have a heading line and rows whose cells are never quoted; they are read as views. Tables with text
// follow RFC 4180: a cell with a comma, a quote or a line break stands in quotes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/report/svg_plot.h"

namespace fm {

// The cells of one line, views into it. A line of n commas has n + 1 cells; an empty line has one empty cell.
std::vector<std::string_view> csv_cells(std::string_view line);

// A whole RFC 4180 text as rows of cells; empty lines are left out. FileError if a quoted cell does not end.
using CsvRows = std::vector<std::vector<std::string>>;
CsvRows parse_csv(std::string_view text);
// One row as a line with its line break; cells are quoted where they must be.
std::string csv_line(const std::vector<std::string>& cells);

// Names of the columns of a CSV text.
std::vector<std::string> csv_columns(std::string_view csv);

// Two columns as a curve. Rows that lack one of the two numbers are left out, and so is a last line without a line break (a program is still
// writing it). FileError if a column is missing; it lists the existing ones.
Curve csv_curve(std::string_view csv, std::string_view x_column, std::string_view y_column, std::string name = "");

}  // namespace fm
