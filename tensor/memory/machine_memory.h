// The memory available to a process, for comparison with sizes known beforehand: a batch that cannot fit is refused in a second
// and not after minutes of page faults.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace fm {

struct MemoryLimit {
  double bytes = 0;        // infinite if unknown
  std::string whose;       // "this machine", "the cgroup of this process", "ulimit -v"
};

// The smallest of the machine's memory (with its swap or without), the limits of the process's cgroups (version 1 and 2, parents too) and
// RLIMIT_AS. `root` is where proc/ and sys/fs/cgroup/ lie, for tests; with another root than "/" RLIMIT_AS is ignored.
MemoryLimit machine_memory(bool with_swap = true, const std::filesystem::path& root = "/");

std::int64_t resident_bytes();   // memory of this process that is in RAM; 0 if unknown

}  // namespace fm
