// Fibers: functions with stacks of their own, which take turns on one thread of the host.
#pragma once

#if !defined(__x86_64__) && !defined(HOST_CUDA_UCONTEXT)
#define HOST_CUDA_UCONTEXT 1   // define it by hand to test this implementation on x86-64
#endif
#if HOST_CUDA_UCONTEXT
#include <ucontext.h>
#endif

#include <cstddef>
#include <memory>

#include "sanitizer.h"

namespace host_cuda {

struct Fiber {
  std::unique_ptr<std::byte[]> stack;      // null for the fiber of the host, which has its thread's stack
#if HOST_CUDA_UCONTEXT
  ucontext_t context;
#else
  void* sp = nullptr;
#endif
  void* sanitizer = nullptr;               // AddressSanitizer's data, and the bounds of the stack, which it needs
  const void* bottom = nullptr;
  std::size_t bytes = 0;
};

#if !HOST_CUDA_UCONTEXT
// Pushes the registers that a call preserves, stores the stack pointer in *save, and pops the registers from the stack `load`.
extern "C" void host_cuda_switch(void** save, void* load);
#endif
#ifdef FM_ASAN
void leaving(Fiber& from, Fiber& to);
void arrived();
#else
inline void leaving(Fiber&, Fiber&) {}
inline void arrived() {}
#endif

// Switches from the running fiber `from` to `to`. Returns when a fiber switches back to `from`.
inline void switch_fiber(Fiber& from, Fiber& to) {
  leaving(from, to);
#if HOST_CUDA_UCONTEXT
  swapcontext(&from.context, &to.context);
#else
  host_cuda_switch(&from.sp, to.sp);
#endif
  arrived();
}

// Returns an idle fiber or a new one. The first switch to a fiber calls `main`, which must begin with arrived() and must not return.
Fiber& take_fiber(void (*main)());
void give_fiber(Fiber& f);                 // makes f idle; f may still run until it switches to another fiber
// Makes all fibers idle and drops their state: they begin with `main` again.
void abandon_fibers(void (*main)());

}  // namespace host_cuda
