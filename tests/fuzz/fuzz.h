// The common part of the fuzz targets. A target gives libFuzzer's bytes to one reader. An fm::Error is the right result for bad bytes. Any other
// failure is a finding: a crash, another exception, a sanitizer's report, too much memory or time.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "tensor/error.h"
#include "tensor/tensor.h"

namespace fm::fuzz {

// A file in memory, for readers that take a path.
class MemoryFile {
 public:
  MemoryFile() : number_(memfd_create("fuzz", 0)) {
    if (number_ < 0) std::abort();
  }
  ~MemoryFile() { close(number_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(number_); }
  void write(const std::uint8_t* data, std::size_t size) const {
    if (ftruncate(number_, 0) != 0 || pwrite(number_, data, size, 0) != ssize_t(size)) std::abort();
  }

 private:
  int number_;
};

template <class F>
int accept_errors(F&& read) {
  try {
    read();
  } catch (const Error&) {
  }
  return 0;
}

// Reads every element of small tensors. A large one may be a bomb: a view that repeats few bytes many times.
inline void touch(const Tensor& t) {
  if (t.numel() > 0 && t.numel() <= 1 << 16) (void)t.to_vector<double>();
}

}  // namespace fm::fuzz
