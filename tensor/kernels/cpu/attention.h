// The CPU's AttentionKernels (tensor/kernels/attention.h).
#pragma once

#include "tensor/kernels/cpu/isa.h"
#include "tensor/kernels/attention.h"

namespace fm::cpu {

using namespace kernels;
FM_KERNEL_FAMILY(AttentionKernels, attention_kernels)

}  // namespace fm::cpu
