#include "flowmap/training/move_aside.h"

#include <system_error>
#include <vector>

#include "tensor/error.h"
#include "tensor/io/folder_lock.h"

namespace fm {

void move_aside(const std::filesystem::path& path, Messages& log) {
  std::vector<FolderLock> held;                                  // locks: a process that trains there would continue to write to the old path
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path))
    if (entry.path().filename() == FolderLock::file_name) held.emplace_back(entry.path().parent_path(), "--out");
  std::filesystem::path target;
  for (int n = 1; target.empty() || std::filesystem::exists(target); ++n) target = path.string() + fmt::format(".old-{}", n);
  std::error_code error;
  std::filesystem::rename(path, target, error);
  if (error) throw ConfigError(fmt::format("--out {}: --fresh cannot move the old run to {}: {}", path.string(), target.string(), error.message()));
  log.info("--fresh: the old run is now {}", target.string());
}

}  // namespace fm
