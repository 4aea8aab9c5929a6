// Arrays in the memory of cuda:0 for tests of raw kernels, and the tables of that device.
#pragma once

#include <memory>
#include <vector>

#include "tensor/kernels/cuda/backend.h"
#include "tensor/memory/allocator.h"

namespace fm::test {

inline const cuda::Backend& gpu() { return cuda::on(Device::cuda(0)); }

// A copy of `values`, `offset` elements after the beginning of a block.
template <class T>
class OnGpu {
 public:
  explicit OnGpu(const std::vector<T>& values, std::size_t offset = 0)
      : size_(values.size()), offset_(offset), memory_(allocate((size_ + offset) * sizeof(T), Device::cuda(0))) {
    gpu().memory.upload(data(), values.data(), size_ * sizeof(T));
  }
  T* data() const { return reinterpret_cast<T*>(memory_.get()) + offset_; }
  std::vector<T> values() const {
    std::vector<T> out(size_);
    gpu().memory.download(out.data(), data(), size_ * sizeof(T));
    return out;
  }

 private:
  std::size_t size_, offset_;
  std::shared_ptr<std::byte> memory_;
};

}  // namespace fm::test
