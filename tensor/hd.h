// FM_HD marks small functions that host code and CUDA kernels share.
#pragma once

#ifndef FM_HD
#ifdef __CUDACC__
#define FM_HD __host__ __device__
#else
#define FM_HD
#endif
#endif
