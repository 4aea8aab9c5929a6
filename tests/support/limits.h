// The address space and file size still available to this process: tests of files beyond 4 GiB are skipped if a limit (ulimit -v, -f) is below that.
#pragma once

#include <sys/resource.h>

#include <cstdint>

namespace fm::test {

inline bool allows(int limit, std::uint64_t bytes) {
  rlimit now{};
  return getrlimit(static_cast<decltype(RLIMIT_AS)>(limit), &now) != 0 || now.rlim_cur == RLIM_INFINITY || now.rlim_cur >= bytes;
}

// Whether a sparse file of this many bytes can be written and mapped, with 2 GiB left for the process itself.
inline bool room_for_file(std::uint64_t bytes) { return allows(RLIMIT_FSIZE, bytes) && allows(RLIMIT_AS, bytes + (std::uint64_t{2} << 30)); }

}  // namespace fm::test
