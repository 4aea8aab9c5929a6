#include "data/report/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "tensor/error.h"

namespace fm {
namespace {

std::string_view take_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

size_t column_index(std::string_view heading, std::string_view name) {
  const auto columns = csv_cells(heading);
  const auto found = std::find(columns.begin(), columns.end(), name);
  if (found == columns.end()) throw FileError(fmt::format("no column '{}' among {}", name, heading));
  return size_t(found - columns.begin());
}

// NaN for an empty or unreadable cell.
double number_in(const std::vector<std::string_view>& row, size_t column) {
  double value = 0;
  const bool there =
      column < row.size() && std::from_chars(row[column].data(), row[column].data() + row[column].size(), value).ec == std::errc();
  return there ? value : std::nan("");
}

}  // namespace

std::vector<std::string_view> csv_cells(std::string_view line) {
  std::vector<std::string_view> out;
  for (size_t comma = line.find(','); comma != std::string_view::npos; comma = line.find(',')) {
    out.push_back(line.substr(0, comma));
    line.remove_prefix(comma + 1);
  }
  out.push_back(line);
  return out;
}

CsvRows parse_csv(std::string_view text) {
  CsvRows rows;
  std::vector<std::string> row;
  std::string cell;
  bool quoted = false, any = false;                      // inside quotes; the line has characters
  const auto end_cell = [&] { row.push_back(std::exchange(cell, {})); };
  const auto end_row = [&] {
    if (any) end_cell(), rows.push_back(std::exchange(row, {}));
    any = false;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool pair = quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"';
    if (pair) cell += text[++i];
    else if (c == '"') any = true, quoted = !quoted;
    else if (quoted) cell += c;
    else if (c == ',') any = true, end_cell();
    else if (c == '\n') end_row();
    else if (c != '\r') any = true, cell += c;
  }
  if (quoted) throw FileError("a quoted cell of the CSV text does not end");
  end_row();
  return rows;
}

std::string csv_line(const std::vector<std::string>& cells) {
  std::string line;
  for (const std::string& cell : cells) {
    if (&cell != &cells.front()) line += ',';
    if (cell.find_first_of(",\"\r\n") == std::string::npos) {
      line += cell;
      continue;
    }
    line += '"';
    for (char c : cell) line += c == '"' ? "\"\"" : std::string(1, c);
    line += '"';
  }
  return line + '\n';
}

std::vector<std::string> csv_columns(std::string_view csv) {
  std::vector<std::string> names;
  for (std::string_view cell : csv_cells(take_line(csv))) names.emplace_back(cell);
  return names;
}

Curve csv_curve(std::string_view csv, std::string_view x_column, std::string_view y_column, std::string name) {
  const std::string_view heading = take_line(csv);
  const size_t x = column_index(heading, x_column), y = column_index(heading, y_column);
  Curve curve{.name = name.empty() ? std::string(y_column) : std::move(name)};
  while (csv.find('\n') != std::string_view::npos) {       // the rest is half a row: "0.1" may be the start of 0.125
    const auto row = csv_cells(take_line(csv));
    const double x_value = number_in(row, x), y_value = number_in(row, y);
    if (std::isnan(x_value) || std::isnan(y_value)) continue;
    curve.x.push_back(x_value);
    curve.y.push_back(y_value);
  }
  return curve;
}

}  // namespace fm
