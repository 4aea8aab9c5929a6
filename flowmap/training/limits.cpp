#include "flowmap/training/limits.h"

#include <fmt/format.h>

#include "data/report/numbers.h"
#include "tensor/memory/machine_memory.h"

namespace fm {

std::string beyond_memory(double bytes, const std::string& what, const std::string& of, const std::string& remedy) {
  const MemoryLimit limit = machine_memory();
  if (bytes <= limit.bytes) return {};
  return fmt::format("{} needs about {} of memory ({}), {} has {}: {}", what, bytes_text(bytes), of, limit.whose, bytes_text(limit.bytes), remedy);
}

std::string beyond_disk(double bytes, const std::filesystem::path& folder, const std::string& what, const std::string& remedy) {
  std::error_code error;
  std::filesystem::path there = std::filesystem::absolute(folder, error);
  while (!std::filesystem::exists(there, error) && there.has_relative_path()) there = there.parent_path();
  const auto space = std::filesystem::space(there, error);
  if (error || bytes <= static_cast<double>(space.available)) return {};
  return fmt::format("{}: {} {}, and {} are free there: {}", folder.string(), what, bytes_text(bytes),
                     bytes_text(static_cast<double>(space.available)), remedy);
}

}  // namespace fm
