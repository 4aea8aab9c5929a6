// The CPU's OptimizerKernels (tensor/kernels/optimizer.h).
#pragma once

#include "tensor/kernels/cpu/isa.h"
#include "tensor/kernels/optimizer.h"

namespace fm::cpu {

using namespace kernels;
FM_KERNEL_FAMILY(OptimizerKernels, optimizer_kernels)

}  // namespace fm::cpu
