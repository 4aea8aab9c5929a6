// Family `peak`: the maximum rate of the arithmetic units, on registers alone. Other kernels are compared with it.
#pragma once

#include "tensor/kernels/cpu/isa.h"

namespace fm::cpu {

// Each function runs for some tens of microseconds on the calling thread and returns the number of its floating-point operations.
struct PeakKernels {
  double (*f32)();   // multiply-adds
  double (*bf16)();  // VDPBF16PS; null if the machine or the instruction set lacks it
};
FM_KERNEL_FAMILY(PeakKernels, peak_kernels)

}  // namespace fm::cpu
