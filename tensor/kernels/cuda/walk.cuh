// A Walk (tensor/ops/walk.h) in the form that kernels take, and grids for long arrays.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "tensor/kernels/cuda/launch.h"
#include "tensor/ops/walk.h"

namespace fm::cuda {

constexpr unsigned threads_per_block = 256;

// Kernels loop over elements beyond the grid, so any n is possible. 4096 blocks fill the largest GPU several times.
inline dim3 grid_for(std::int64_t n, std::int64_t per_thread = 4) {
  const std::int64_t wanted = (n + threads_per_block * per_thread - 1) / (threads_per_block * per_thread);
  return dim3(static_cast<unsigned>(wanted < 1 ? 1 : wanted < 4096 ? wanted : 4096));
}

__device__ inline std::int64_t first_element() { return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline std::int64_t element_step() { return static_cast<std::int64_t>(gridDim.x) * blockDim.x; }

struct DeviceWalk {
  int rank = 0;
  std::int64_t n = 0;
  std::int64_t shape[max_rank], a[max_rank], b[max_rank];

  explicit DeviceWalk(const Walk& w) : rank(w.shape.rank()), n(w.shape.numel()) {
    for (int d = 0; d < rank; ++d) {
      shape[d] = w.shape[d];
      a[d] = w.a[d];
      b[d] = w.b[d];
    }
  }

  struct Offsets {
    std::int64_t a, b;
  };
  // Returns the offsets, in both operands, of element i in row-major order.
  __device__ Offsets at(std::int64_t i) const {
    Offsets o{0, 0};
    for (int d = rank - 1; d > 0; --d) {
      const std::int64_t next = i / shape[d], k = i - next * shape[d];
      o.a += k * a[d];
      o.b += k * b[d];
      i = next;
    }
    return {o.a + i * a[0], o.b + i * b[0]};
  }
};

}  // namespace fm::cuda
