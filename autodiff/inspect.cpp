#include "autodiff/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "tensor/memory/allocator.h"

namespace fm {

std::string human_bytes(std::size_t bytes) {
  constexpr std::array units = {"B", "KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double amount = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (amount >= 1023.95 && unit + 1 < units.size()) {       // 1023.96 would print as 1024.0
    amount /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", amount, units[unit]);
}

std::string memory_table() {
  std::vector<std::pair<std::string, std::size_t>> ops;
  std::size_t total = 0;
  for (const auto& [name, bytes] : memory_by_op()) {
    if (bytes) ops.emplace_back(name, bytes);
    total += bytes;
  }
  std::stable_sort(ops.begin(), ops.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string table;
  for (const auto& [name, bytes] : ops)
    table += fmt::format("{:>12}  {:5.1f} %  {}\n", human_bytes(bytes), 100.0 * static_cast<double>(bytes) / static_cast<double>(total), name);
  return table + fmt::format("{:>12}  in all; peak {}\n", human_bytes(total), human_bytes(memory_stats().peak));
}

}  // namespace fm
