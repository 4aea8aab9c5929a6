// Memory from the system. Large blocks lie on pages of 2 MiB: the first touch of a page of 4 KiB costs microseconds on a virtual machine.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#if __has_include(<malloc.h>)
#include <malloc.h>
#endif

namespace fm {

constexpr std::size_t huge_page = std::size_t{2} << 20;

// Returns a block to be released with std::free, or null if no memory is available. `alignment` applies to blocks smaller than a huge page; larger
// ones are aligned to huge pages.
inline void* allocate_pages(std::size_t bytes, std::size_t alignment) {
  if (bytes >= huge_page) alignment = huge_page;
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* p = rounded >= bytes ? std::aligned_alloc(alignment, rounded) : nullptr;
  if (p && bytes >= huge_page) madvise(p, rounded, MADV_HUGEPAGE);
  return p;
}

// With FLOWMAP_POISON_MEMORY set, as in the tests, unwritten memory is NaN in every floating type and -1 in every integer: a result
// that depends on unwritten memory becomes visible, whatever the memory contained before.
inline void poison_if_asked(void* p, std::size_t bytes) {
  static const bool asked = std::getenv("FLOWMAP_POISON_MEMORY") != nullptr;
  if (asked) std::memset(p, 0xff, bytes);
}

// Returns unused pages to the system, after many blocks were freed. The C library otherwise keeps them: after large blocks were freed it serves
// blocks of up to 32 MiB from its heap.
inline void return_free_pages() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace fm
