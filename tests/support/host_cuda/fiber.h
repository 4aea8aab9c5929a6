// Fibers: calls with stacks of their own, which take turns on one thread of the host.
#pragma once

#if !defined(__x86_64__) && !defined(HOST_CUDA_UCONTEXT)
#define HOST_CUDA_UCONTEXT 1   // also to be defined by hand, to try that way on x86-64
#endif
#if HOST_CUDA_UCONTEXT
#include <ucontext.h>
#endif

#include <cstddef>
#include <memory>

#include "sanitizer.h"

namespace host_cuda {

struct Fiber {
  std::unique_ptr<std::byte[]> stack;      // null: the host's own, of the thread that first switched to another fiber
#if HOST_CUDA_UCONTEXT
  ucontext_t context;
#else
  void* sp = nullptr;
#endif
  void* sanitizer = nullptr;               // AddressSanitizer's own, and the bounds of the stack for it
  const void* bottom = nullptr;
  std::size_t bytes = 0;
};

#if !HOST_CUDA_UCONTEXT
// Puts the registers that a call preserves on the stack and that into *save, and takes them from the stack `load`.
extern "C" void host_cuda_switch(void** save, void* load);
#endif
#ifdef FM_ASAN
void leaving(Fiber& from, Fiber& to);
void arrived();
#else
inline void leaving(Fiber&, Fiber&) {}
inline void arrived() {}
#endif

// Leaves `from`, which is the running one, for `to`. Returns when some fiber switches to `from`.
inline void switch_fiber(Fiber& from, Fiber& to) {
  leaving(from, to);
#if HOST_CUDA_UCONTEXT
  swapcontext(&from.context, &to.context);
#else
  host_cuda_switch(&from.sp, to.sp);
#endif
  arrived();
}

// A fiber that waits to be used, or a new one: the first switch to it calls `main`, which must not return and begins with arrived().
Fiber& take_fiber(void (*main)());
void give_fiber(Fiber& f);                 // may still run: it is used again when it has switched to another
// All fibers become free, and begin with `main` again. Their state is dropped.
void abandon_fibers(void (*main)());

}  // namespace host_cuda
