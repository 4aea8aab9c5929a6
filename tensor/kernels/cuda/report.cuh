// A kernel's report of an index out of range: the host reads the word when it next waits for the device.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace fm::cuda {

// Writes the index into the upper half of the word (all ones if it is negative or too large) and limit + 1 into the lower half, so the word is never
// 0. If several threads report, the last report stays.
__device__ inline void report_index(unsigned long long* word, std::int64_t index, std::int64_t limit) {
  const unsigned long long shown = index < 0 || index > 0xfffffffe ? 0xffffffffull : static_cast<unsigned long long>(index);
  atomicExch(word, shown << 32 | static_cast<unsigned long long>(static_cast<std::uint32_t>(limit + 1)));
}

}  // namespace fm::cuda
