#include "data/report/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "data/report/csv.h"

namespace fm {
namespace {

bool has_notes(const Table& table) {
  return std::any_of(table.rows.begin(), table.rows.end(), [](const TableRow& row) { return !row.note.empty(); });
}

// Characters, not bytes: "±" takes two bytes and one place.
std::size_t places(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string padded(const std::string& text, std::size_t width, bool left) {
  const std::string space(width > places(text) ? width - places(text) : 0, ' ');
  return left ? text + space : space + text;
}

// All cells as text: the first row holds titles, the first column names.
std::vector<std::vector<std::string>> as_text(const Table& table, const std::string& plus_minus) {
  std::vector<std::vector<std::string>> lines(1, {table.what});
  for (const TableColumn& c : table.columns) lines[0].push_back(c.title);
  for (const TableRow& row : table.rows) {
    lines.push_back({row.name});
    for (std::size_t i = 0; i < table.columns.size(); ++i) lines.back().push_back(cell_text(table.columns[i], row.cells.at(i), plus_minus));
  }
  if (has_notes(table)) {
    lines[0].push_back("note");
    for (std::size_t i = 0; i < table.rows.size(); ++i) lines[i + 1].push_back(table.rows[i].note);
  }
  return lines;
}

std::string latex_escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (std::string_view("&%$#_{}").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string cell_text(const TableColumn& column, const std::vector<double>& values, const std::string& plus_minus) {
  const Statistics s = statistics(values);
  if (s.n == 0) return "-";
  const std::string mean = fmt::format(fmt::runtime(column.format), s.mean);
  return s.n == 1 ? mean : fmt::format("{} {} {}", mean, plus_minus, fmt::format(fmt::runtime(column.format), s.deviation));
}

std::string terminal_text(const Table& table, std::size_t width) {
  const auto lines = as_text(table, "±");
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < lines[0].size(); ++c) {
    widths.push_back(0);
    for (const auto& line : lines) widths.back() = std::max(widths.back(), places(line[c]));
  }
  std::string out;
  for (std::size_t first = 1; first < widths.size();) {
    std::size_t used = widths[0], end = first;
    while (end < widths.size() && (end == first || used + 2 + widths[end] <= width)) used += 2 + widths[end++];
    if (first > 1) out += '\n';
    for (const auto& line : lines) {
      std::string text = padded(line[0], widths[0], true);
      for (std::size_t c = first; c < end; ++c) text += "  " + padded(line[c], widths[c], false);
      out += text + '\n';
    }
    first = end;
  }
  return out;
}

std::string csv_text(const Table& table) {
  std::vector<std::string> head{"name"};
  for (const TableColumn& c : table.columns)
    for (const char* part : {"mean", "deviation", "n"}) head.push_back(fmt::format("{}_{}", c.key, part));
  head.emplace_back("note");
  std::string out = csv_line(head);
  for (const TableRow& row : table.rows) {
    std::vector<std::string> cells{row.name};
    for (const auto& values : row.cells) {
      const Statistics s = statistics(values);
      cells.push_back(s.n == 0 ? "" : fmt::format("{:.6g}", s.mean));
      cells.push_back(s.n < 2 ? "" : fmt::format("{:.6g}", s.deviation));
      cells.push_back(std::to_string(s.n));
    }
    cells.push_back(row.note);
    out += csv_line(cells);
  }
  return out;
}

std::string markdown_text(const Table& table) {
  const auto lines = as_text(table, "±");
  std::string out;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    out += fmt::format("| {} |\n", fmt::join(lines[i], " | "));
    if (i == 0) out += fmt::format("| --- |{}\n", fmt::join(std::vector<std::string>(lines[0].size() - 1, " ---: |"), ""));
  }
  return out;
}

std::string latex_text(const Table& table) {
  const auto lines = as_text(table, "PLUSMINUS");
  std::string out = fmt::format("\\begin{{tabular}}{{l{}}}\n\\toprule\n", std::string(lines[0].size() - 1, 'r'));
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::vector<std::string> cells;
    for (const std::string& cell : lines[i]) {
      std::string text = latex_escaped(cell);
      if (const auto at = text.find("PLUSMINUS"); at != std::string::npos) text.replace(at, 9, "$\\pm$");
      cells.push_back(text);
    }
    out += fmt::format("{} \\\\\n", fmt::join(cells, " & "));
    if (i == 0) out += "\\midrule\n";
  }
  return out + "\\bottomrule\n\\end{tabular}\n";
}

}  // namespace fm
