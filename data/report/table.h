// A table of repeated measurements: one row per variant, one column per quantity. A cell has the values of all repetitions (seeds).
#pragma once

#include <string>
#include <vector>

#include "data/report/statistics.h"

namespace fm {

struct TableColumn {
  std::string key;         // in CSV: "frechet_1"
  std::string title;       // "Frechet, 1 call"
  std::string format;      // of numbers outside CSV: "{:.3f}"
  bool log = false;        // plotted on a logarithmic axis
};

struct TableRow {
  std::string name;
  std::vector<std::vector<double>> cells;  // one list of values per column; empty or not finite: not measured, or diverged
  std::string note;                        // "1 of 3 diverged"; may be empty
};

struct Table {
  std::string what;        // the head of the first column
  std::vector<TableColumn> columns;
  std::vector<TableRow> rows;
};

// "70.312 ± 0.421", "70.312" for one value, "-" for none.
std::string cell_text(const TableColumn& column, const std::vector<double>& values, const std::string& plus_minus = "±");

// The table in blocks of columns of at most `width` characters; each block repeats the names of the rows.
std::string terminal_text(const Table& table, std::size_t width = 132);
// name,KEY_mean,KEY_deviation,KEY_n,...,note
std::string csv_text(const Table& table);
std::string markdown_text(const Table& table);
std::string latex_text(const Table& table);              // a tabular of booktabs

}  // namespace fm
