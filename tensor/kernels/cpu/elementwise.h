// The CPU's ElementwiseKernels (tensor/kernels/elementwise.h).
#pragma once

#include "tensor/kernels/cpu/isa.h"
#include "tensor/kernels/elementwise.h"

namespace fm::cpu {

using namespace kernels;
FM_KERNEL_FAMILY(ElementwiseKernels, elementwise_kernels)

}  // namespace fm::cpu
