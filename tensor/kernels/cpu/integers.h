// Small arithmetic on sizes, for kernels.
#pragma once

#include <cstdint>

#include "tensor/parallel.h"

namespace fm::cpu::FM_ISA {
namespace {

using Int = std::int64_t;

FM_INLINE Int smaller(Int a, Int b) { return a < b ? a : b; }
FM_INLINE Int larger(Int a, Int b) { return a > b ? a : b; }
FM_INLINE Int ceil_div(Int a, Int b) { return (a + b - 1) / b; }
FM_INLINE Int round_up(Int a, Int b) { return ceil_div(a, b) * b; }

}  // namespace
}  // namespace fm::cpu::FM_ISA
