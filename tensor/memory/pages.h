// Memory from the system. Large blocks lie on pages of 2 MiB: the first touch of a page of 4 KiB costs microseconds on a virtual machine.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>

namespace fm {

constexpr std::size_t huge_page = std::size_t{2} << 20;

// For std::free; null where there is no such memory. `alignment` is that of blocks smaller than a huge page.
inline void* allocate_pages(std::size_t bytes, std::size_t alignment) {
  if (bytes >= huge_page) alignment = huge_page;
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* p = rounded >= bytes ? std::aligned_alloc(alignment, rounded) : nullptr;
  if (p && bytes >= huge_page) madvise(p, rounded, MADV_HUGEPAGE);
  return p;
}

}  // namespace fm
