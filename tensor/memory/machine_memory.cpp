#include "tensor/memory/machine_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>

namespace fm {
namespace {

namespace fs = std::filesystem;

// Returns the bytes in the lines "MemTotal:  16318480 kB" and, with_swap, "SwapTotal: ..." of proc/meminfo.
double machine_bytes(const fs::path& root, bool with_swap) {
  std::ifstream in(root / "proc/meminfo");
  double total = 0;
  for (std::string key, unit; in >> key;) {
    double value = 0;
    if (key == "MemTotal:" || (with_swap && key == "SwapTotal:")) {
      in >> value;
      total += 1024 * value;
    }
    std::getline(in, unit);
  }
  return total > 0 ? total : std::numeric_limits<double>::infinity();
}

// Reads a limit in bytes from a file. Returns infinity for "max", for the huge number that version 1 writes, and for a missing file.
double limit_in(const fs::path& file) {
  std::ifstream in(file);
  double value = 0;
  return in >> value && value > 0 && value < 0x1p60 ? value : std::numeric_limits<double>::infinity();
}

// Returns the lowest limit of `group` and the groups above it, up to the mount. Groups that a container hides are skipped.
double lowest_limit(const fs::path& mount, const fs::path& group, const char* file) {
  double lowest = limit_in(mount / file);
  for (fs::path g = group.relative_path(); !g.empty(); g = g.parent_path()) lowest = std::min(lowest, limit_in(mount / g / file));
  return lowest;
}

// Lines "0::/user.slice/job" (version 2) and "9:memory:/job" (version 1) of proc/self/cgroup.
double cgroup_bytes(const fs::path& root) {
  std::ifstream in(root / "proc/self/cgroup");
  double lowest = std::numeric_limits<double>::infinity();
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",", group = line.substr(second + 1);
    if (controllers == ",,") lowest = std::min(lowest, lowest_limit(root / "sys/fs/cgroup", group, "memory.max"));
    else if (controllers.find(",memory,") != std::string::npos)
      lowest = std::min(lowest, lowest_limit(root / "sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
  }
  return lowest;
}

}  // namespace

MemoryLimit machine_memory(bool with_swap, const fs::path& root) {
  MemoryLimit limit{machine_bytes(root, with_swap), "this machine"};
  if (const double bytes = cgroup_bytes(root); bytes < limit.bytes) limit = {bytes, "the cgroup of this process"};
  rlimit space{};
  if (root == "/" && getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY && static_cast<double>(space.rlim_cur) < limit.bytes)
    limit = {static_cast<double>(space.rlim_cur), "ulimit -v"};
  return limit;
}

std::int64_t resident_bytes() {
  long total = 0, resident = 0;
  if (FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%ld %ld", &total, &resident) != 2) resident = 0;
    std::fclose(file);
  }
  return std::int64_t{resident} * sysconf(_SC_PAGESIZE);
}

}  // namespace fm
