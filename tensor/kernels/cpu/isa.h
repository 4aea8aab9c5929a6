// Instruction sets of the CPU back end.
//
// A kernel file `foo.cpp` in this folder is compiled once per instruction set with FM_ISA=base|avx2|avx512 and defines, inside
// `namespace fm::cpu::FM_ISA`, one function `const FooKernels& foo_kernels()` that returns a table of function pointers. Everything else
// in the file lives in an anonymous namespace, so that no symbol compiled for a newer instruction set can replace one compiled for an
// older machine at link time (tests/tensor/symbols checks with nm). `foo.h` declares the table with FM_KERNEL_FAMILY.
#pragma once

namespace fm::cpu {

enum class Isa { base, avx2, avx512 };

// The best instruction set of this machine and this build; FLOWMAP_ISA=base|avx2|avx512 selects a lower one.
Isa active_isa();
const char* isa_name(Isa isa);
bool isa_supported(Isa isa);

// For tests: use `isa` from now on (throws if the machine lacks it).
void set_active_isa(Isa isa);

}  // namespace fm::cpu

#if defined(__x86_64__)
#define FM_KERNEL_FAMILY(Table, function)               \
  namespace base { const Table& function(); }           \
  namespace avx2 { const Table& function(); }           \
  namespace avx512 { const Table& function(); }         \
  inline const Table& function() {                      \
    switch (active_isa()) {                             \
      case Isa::avx512: return avx512::function();      \
      case Isa::avx2: return avx2::function();          \
      default: return base::function();                 \
    }                                                   \
  }
#else
#define FM_KERNEL_FAMILY(Table, function)               \
  namespace base { const Table& function(); }           \
  inline const Table& function() { return base::function(); }
#endif
