// Family `peak`: what the arithmetic units do at most, on registers alone. Other kernels are measured against it.
#pragma once

#include "tensor/kernels/cpu/isa.h"

namespace fm::cpu {

// Each runs once for some tens of microseconds on the calling thread and returns the floating-point operations it did.
struct PeakKernels {
  double (*f32)();   // multiply-adds
  double (*bf16)();  // VDPBF16PS; null where the machine or the instruction set has none
};
FM_KERNEL_FAMILY(PeakKernels, peak_kernels)

}  // namespace fm::cpu
