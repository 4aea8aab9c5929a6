#include "tensor/kernels/cpu/scratch.h"

#include <cstdlib>
#include <new>

#include "tensor/memory/pages.h"

namespace fm::cpu {
namespace {

struct Buffer {
  void* data = nullptr;
  std::int64_t size = 0;
  ~Buffer() { std::free(data); }
};

}  // namespace

void* thread_scratch(std::int64_t bytes, Scratch use) {
  static thread_local Buffer buffers[4];
  Buffer& buffer = buffers[static_cast<int>(use)];
  if (bytes > buffer.size) {
    std::free(buffer.data);
    buffer.size = 0;
    const std::int64_t wanted = (bytes + bytes / 4 + 4095) / 4096 * 4096;
    buffer.data = allocate_pages(static_cast<std::size_t>(wanted), 4096);
    if (!buffer.data) throw std::bad_alloc();
    buffer.size = wanted;
  }
  return buffer.data;
}

}  // namespace fm::cpu
