// FM_HD marks small functions that CPU and CUDA kernels share; it includes `inline`. On the CPU they are always inlined, so that no copy
// compiled for one instruction set can replace another at link time.
#pragma once

#ifdef __CUDACC__
#define FM_HD __host__ __device__ __forceinline__
#else
#define FM_HD __attribute__((always_inline)) inline
#endif
