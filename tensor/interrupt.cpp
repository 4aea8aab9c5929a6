#include "tensor/interrupt.h"

#include <omp.h>

namespace fm {
namespace {

thread_local InterruptCheck check_of_thread = nullptr;
thread_local int held = 0;

}  // namespace

void set_interrupt_check(InterruptCheck check) { check_of_thread = check; }

void check_interrupt() {
  if (check_of_thread != nullptr && held == 0 && !omp_in_parallel()) check_of_thread();
}

HoldInterrupts::HoldInterrupts() { ++held; }
HoldInterrupts::~HoldInterrupts() { --held; }

}  // namespace fm
