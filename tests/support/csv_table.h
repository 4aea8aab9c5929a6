// A CSV file as table[first cell of a line][heading of the column].
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "data/report/csv.h"
#include "tests/support/text.h"

namespace fm::test {

using Cells = std::map<std::string, std::string>;

inline std::map<std::string, Cells> table_of(const std::filesystem::path& csv) {
  const CsvRows rows = parse_csv(read_file(csv));
  std::map<std::string, Cells> out;
  for (std::size_t r = 1; r < rows.size(); ++r)
    for (std::size_t c = 0; c < rows[0].size(); ++c) out[rows[r][0]][rows[0][c]] = rows[r].at(c);
  return out;
}

}  // namespace fm::test
