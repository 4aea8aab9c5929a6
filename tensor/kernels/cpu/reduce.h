// The CPU's ReduceKernels (tensor/kernels/reduce.h).
#pragma once

#include "tensor/kernels/cpu/isa.h"
#include "tensor/kernels/reduce.h"

namespace fm::cpu {

using namespace kernels;
FM_KERNEL_FAMILY(ReduceKernels, reduce_kernels)

}  // namespace fm::cpu
