#include "tensor/kernels/cpu/scratch.h"

#include <cstdlib>
#include <new>

#include "tensor/memory/allocator.h"
#include "tensor/memory/pages.h"

namespace fm::cpu {
namespace {

constexpr int uses = 4;                 // number of values of Scratch

struct Buffer {
  void* data = nullptr;
  std::int64_t size = 0;
  ~Buffer() { std::free(data); }
};

Buffer& buffer_of(Scratch use) {
  static thread_local Buffer buffers[uses];
  return buffers[static_cast<int>(use)];
}

}  // namespace

void* thread_scratch(std::int64_t bytes, Scratch use) {
  Buffer& buffer = buffer_of(use);
  if (bytes > buffer.size) {
    std::free(buffer.data);
    buffer.size = 0;
    const std::int64_t wanted = (bytes + bytes / 4 + 4095) / 4096 * 4096;
    buffer.data = allocate_pages(static_cast<std::size_t>(wanted), 4096);
    if (!buffer.data && release_cached_blocks({}) > 0) buffer.data = allocate_pages(static_cast<std::size_t>(wanted), 4096);
    if (!buffer.data) throw std::bad_alloc();
    buffer.size = wanted;
  }
  poison_if_asked(buffer.data, static_cast<std::size_t>(bytes));
  return buffer.data;
}

std::size_t release_thread_scratch() {
  std::int64_t bytes = 0;
  for (int i = 0; i < uses; ++i) {
    Buffer& buffer = buffer_of(static_cast<Scratch>(i));
    bytes += buffer.size;
    std::free(buffer.data);
    buffer.data = nullptr;
    buffer.size = 0;
  }
  return static_cast<std::size_t>(bytes);
}

}  // namespace fm::cpu
