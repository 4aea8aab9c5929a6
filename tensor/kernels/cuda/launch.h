// Launches kernels and gives them shared memory. nvcc and tests/support/host_cuda need different code for these two.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "tensor/kernels/cuda/runtime.h"

#ifdef __CUDACC__
// Inside a kernel: `name` points to the launch's dynamic shared memory.
#define FM_SHARED(T, name)                                              \
  extern __shared__ __align__(16) unsigned char fm_shared_bytes[];      \
  T* const name = reinterpret_cast<T*>(fm_shared_bytes)
#else
#define FM_SHARED(T, name) T* const name = static_cast<T*>(::host_cuda::shared_memory(alignof(T)))
#endif

namespace fm::cuda {

template <class... Parameters, class... Args>
void launch(cudaStream_t stream, dim3 grid, dim3 block, std::size_t shared_bytes, void (*kernel)(Parameters...), Args... args) {
#ifdef __CUDACC__
  kernel<<<grid, block, shared_bytes, stream>>>(static_cast<Parameters>(args)...);
  check(cudaGetLastError(), "launch of a kernel");
#else
  check(host_cuda::launch(stream, grid, block, shared_bytes, [=] { kernel(static_cast<Parameters>(args)...); }, reinterpret_cast<const void*>(kernel)),
        "launch of a kernel");
#endif
}

}  // namespace fm::cuda
