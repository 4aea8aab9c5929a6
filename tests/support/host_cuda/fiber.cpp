#include "fiber.h"

#include <cstdint>
#include <deque>
#include <vector>

#ifdef FM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#if !HOST_CUDA_UCONTEXT
// On x86-64 a switch exchanges the registers that a call preserves and the stack pointer. ucontext would also make two system calls per switch, for the
// mask of signals. The last jump is not a `ret`, because processors expect a `ret` to return to the last caller. Fibers that run the same kernel mostly
// wait at the same place, so the indirect jump is predicted well.
asm(R"(
.text
.p2align 4
.globl host_cuda_switch
.type host_cuda_switch, @function
host_cuda_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmpq *%rcx
.size host_cuda_switch, .-host_cuda_switch
)");
#endif

namespace host_cuda {
namespace {

constexpr std::size_t stack_bytes = 192 << 10;

std::deque<Fiber> all;
std::vector<Fiber*> idle;
#ifdef FM_ASAN
Fiber* left = nullptr;                     // the fibers that the current switch leaves and enters
Fiber* entered = nullptr;
#endif

// The tops of stacks differ in the lower bits of their addresses, because a cache keeps few lines that agree in those.
std::byte* top_of(const Fiber& f, std::size_t number) { return f.stack.get() + stack_bytes - number % 61 * 832; }

void prepare(Fiber& f, std::size_t number, void (*main)()) {
#if HOST_CUDA_UCONTEXT
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack.get();
  f.context.uc_stack.ss_size = static_cast<std::size_t>(top_of(f, number) - f.stack.get());
  f.context.uc_link = nullptr;
  makecontext(&f.context, main, 0);
#else
  auto* sp = reinterpret_cast<void**>(reinterpret_cast<std::uintptr_t>(top_of(f, number)) & ~std::uintptr_t{63});
  *--sp = nullptr;                         // as after a call: the stack pointer is 16 n + 8 at the first instruction
  *--sp = reinterpret_cast<void*>(main);
  for (int i = 0; i < 6; ++i) *--sp = nullptr;
  f.sp = sp;
#endif
}

}  // namespace

#ifdef FM_ASAN
void leaving(Fiber& from, Fiber& to) {
  left = &from;
  entered = &to;
  __sanitizer_start_switch_fiber(&from.sanitizer, to.bottom, to.bytes);
}
void arrived() { __sanitizer_finish_switch_fiber(entered->sanitizer, &left->bottom, &left->bytes); }
#endif

Fiber& take_fiber(void (*main)()) {
  if (idle.empty()) {
    Fiber& f = all.emplace_back();
    f.stack.reset(new std::byte[stack_bytes]);
    f.bottom = f.stack.get();
    f.bytes = stack_bytes;
    prepare(f, all.size(), main);
    return f;
  }
  Fiber& f = *idle.back();
  idle.pop_back();
  return f;
}

void give_fiber(Fiber& f) { idle.push_back(&f); }

void abandon_fibers(void (*main)()) {
  idle.clear();
  for (std::size_t i = 0; i < all.size(); ++i) {
    prepare(all[i], i + 1, main);
    idle.push_back(&all[i]);
  }
}

}  // namespace host_cuda
