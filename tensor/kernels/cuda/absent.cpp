// A stub for a build without CUDA. A program that links its own backend() before this archive (tests that run the kernels on the CPU) replaces it.
#include "tensor/kernels/cuda/backend.h"

namespace fm::cuda {

const Backend* backend() { return nullptr; }

}  // namespace fm::cuda
