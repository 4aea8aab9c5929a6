// The race checker's side of what the compiler tells it (compiler_calls.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda_runtime.h"

namespace host_cuda {

enum class Access { read, write, atomic };

extern thread_local bool watching;  // a kernel's thread runs on this thread of the host

struct Span {
  std::uintptr_t begin = 0;
  std::size_t bytes = 0;
  bool has(const void* p) const { return reinterpret_cast<std::uintptr_t>(p) - begin < bytes; }
};
// Where accesses are looked at. Most that a kernel makes lie elsewhere: on its stack, in its arguments, in `place`.
struct Watched {
  Span arenas;                      // from the first device's memory to the end of the last one's
  Span shared, statics;             // a block's dynamic shared memory; static variables
  bool has(const void* p) const {
    if (statics.has(p)) return reinterpret_cast<std::uintptr_t>(p) - reinterpret_cast<std::uintptr_t>(&place) >= sizeof place;
    return arenas.has(p) || shared.has(p);
  }
};
extern Watched watched;

// Of what `watched` has. Ends the kernel with a Report where threads race.
void check_access(const void* p, std::size_t bytes, Access access);

}  // namespace host_cuda
