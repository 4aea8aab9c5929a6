// Runs the threads of a grid, block after block. Each thread of a block is a fiber that yields while it waits for others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

#include "cuda_runtime.h"

namespace host_cuda {

// An error of a kernel, or a misuse of the runtime that would fail on a GPU.
struct Report : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// FLOWMAP_HOST_CUDA_SCHEDULE: "ordered" (the default), "descending" or "random:SEED": the order of blocks, of threads in a block, and of streams.
class Schedule {
 public:
  static Schedule& current();
  // Chooses one of n < 2^32 candidates: 0 if ordered, n - 1 if descending.
  std::uint64_t pick(std::uint64_t n) {
    if (kind_ == Kind::ordered || n < 2) return 0;
    if (kind_ == Kind::descending) return n - 1;
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return (state_ >> 33) * n >> 31;
  }
  bool ordered() const { return kind_ == Kind::ordered; }
  void set(const std::string& text);                       // for tests

 private:
  enum class Kind { ordered, descending, random };
  Kind kind_ = Kind::ordered;
  std::uint64_t state_ = 0;
};

// Runs a grid. If a thread fails, abandons the threads of its block and throws Report.
void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& thread, const void* kernel);

// Ends the kernel with a Report, from inside one of its threads.
[[noreturn]] void fail_thread(std::string what);

std::string name_of_kernel(const void* kernel);            // as in its source, or "a kernel" if the program has no symbols

}  // namespace host_cuda
