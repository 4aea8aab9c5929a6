// The part of the race checker that the compiler's calls use (compiler_calls.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda_runtime.h"

namespace host_cuda {

enum class Access { read, write, atomic };

extern thread_local bool watching;  // true while this thread of the host runs a kernel's thread

struct Span {
  std::uintptr_t begin = 0;
  std::size_t bytes = 0;
  bool has(const void* p) const { return reinterpret_cast<std::uintptr_t>(p) - begin < bytes; }
};
// The ranges where accesses are checked. Most accesses of a kernel lie elsewhere: on its stack, in its arguments, in `place`.
struct Watched {
  Span arenas;                      // from the first device's memory to the end of the last one's
  Span shared, statics;             // a block's dynamic shared memory; static variables
  bool has(const void* p) const {
    if (statics.has(p)) return reinterpret_cast<std::uintptr_t>(p) - reinterpret_cast<std::uintptr_t>(&place) >= sizeof place;
    return arenas.has(p) || shared.has(p);
  }
};
extern Watched watched;

// Checks an access to addresses within `watched`. Ends the kernel with a Report if threads race.
void check_access(const void* p, std::size_t bytes, Access access);

}  // namespace host_cuda
