// The GPU's Lane, by which row programs (tensor/kernels/rows) access a row. The CPU's is in kernels/cpu/lane.h.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <limits>
#include <type_traits>

#include "tensor/hd.h"

namespace fm::cuda {

constexpr unsigned whole_warp = 0xffffffffu;

// A warp for one row: lane i has elements i, i + 32, ... The lanes add their sums pairwise, in the same order every time. All lanes of the warp must
// call each function.
struct WarpLane {
  int lane = 0;

  template <class F> FM_HD auto sum(std::int64_t n, const F& f) const {
    std::remove_cvref_t<decltype(f(0))> total(0);
    for (std::int64_t i = lane; i < n; i += 32) total += f(i);
    return combine(total, [](auto a, auto b) { return a + b; });
  }

  template <class F> FM_HD auto max(std::int64_t n, const F& f) const {
    using T = std::remove_cvref_t<decltype(f(0))>;
    T largest = -std::numeric_limits<T>::infinity();
    for (std::int64_t i = lane; i < n; i += 32) {
      const T x = f(i);
      largest = x > largest ? x : largest;
    }
    return combine(largest, [](T a, T b) { return a > b ? a : b; });
  }

  template <class F> FM_HD void each(std::int64_t n, const F& f) const {
    for (std::int64_t i = lane; i < n; i += 32) f(i);
  }

  template <class F> FM_HD void once(const F& f) const {
    if (lane == 0) f();
  }

 private:
  // Row programs are host and device functions; this function runs on a device only.
  template <class T, class F> FM_HD static T combine(T value, [[maybe_unused]] const F& f) {
#if defined(__CUDA_ARCH__) || !defined(__CUDACC__)
    for (int distance = 16; distance > 0; distance /= 2) value = f(value, __shfl_xor_sync(whole_warp, value, distance));
#endif
    return value;
  }
};

// A grid with a warp for each of n rows, eight warps per block. If the grid is limited, the warp of row r continues with row r + row_step().
constexpr std::int64_t warps_per_block = 8;
inline dim3 grid_of_rows(std::int64_t n) {
  const std::int64_t blocks = (n + warps_per_block - 1) / warps_per_block;
  return dim3(static_cast<unsigned>(blocks < 65535 ? blocks : 65535));
}
inline dim3 block_of_rows(std::int64_t n) { return dim3(static_cast<unsigned>(32 * (n < warps_per_block ? n : warps_per_block))); }
__device__ inline std::int64_t first_row() { return (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32; }
__device__ inline std::int64_t row_step() { return static_cast<std::int64_t>(gridDim.x) * blockDim.x / 32; }

}  // namespace fm::cuda
