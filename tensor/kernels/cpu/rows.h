// The CPU's RowKernels (tensor/kernels/rows.h).
#pragma once

#include "tensor/kernels/cpu/isa.h"
#include "tensor/kernels/rows.h"

namespace fm::cpu {

using namespace kernels;
FM_KERNEL_FAMILY(RowKernels, row_kernels)

}  // namespace fm::cpu
