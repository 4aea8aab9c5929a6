// A table of repeated measurements: a row a variant, a column a quantity, in each cell the values of all repetitions (seeds).
#pragma once

#include <string>
#include <vector>

#include "data/report/statistics.h"

namespace fm {

struct TableColumn {
  std::string key;         // of CSV: "frechet_1"
  std::string title;       // "Frechet, 1 call"
  std::string format;      // of a number for people: "{:.3f}"
  bool log = false;        // plotted on a logarithmic axis
};

struct TableRow {
  std::string name;
  std::vector<std::vector<double>> cells;  // a list of values a column; empty or not finite: not measured, or diverged
  std::string note;                        // "1 of 3 diverged"; may be empty
};

struct Table {
  std::string what;        // the head of the first column
  std::vector<TableColumn> columns;
  std::vector<TableRow> rows;
};

// "70.312 ± 0.421", "70.312" for one value, "-" for none.
std::string cell_text(const TableColumn& column, const std::vector<double>& values, const std::string& plus_minus = "±");

// The table in blocks of columns that fit into `width` characters, each with the names of the rows.
std::string terminal_text(const Table& table, std::size_t width = 132);
// name,KEY_mean,KEY_deviation,KEY_n,...,note
std::string csv_text(const Table& table);
std::string markdown_text(const Table& table);
std::string latex_text(const Table& table);              // a tabular of booktabs

}  // namespace fm
