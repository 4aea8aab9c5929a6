// The CPU's ConvKernels (tensor/kernels/conv.h).
#pragma once

#include "tensor/kernels/cpu/isa.h"
#include "tensor/kernels/conv.h"

namespace fm::cpu {

using namespace kernels;
FM_KERNEL_FAMILY(ConvKernels, conv_kernels)

}  // namespace fm::cpu
