#include "executor.h"

#include <ucontext.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <vector>

#include "sanitizer.h"
#include "watch.h"

#ifdef FM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace host_cuda {

Place place;
Watcher* watcher = nullptr;

// ---- schedule -----------------------------------------------------------------------------------------------------------------------------

Schedule& Schedule::current() {
  static Schedule s = [] {
    Schedule out;
    if (const char* text = std::getenv("FLOWMAP_HOST_CUDA_SCHEDULE")) out.set(text);
    return out;
  }();
  return s;
}

void Schedule::set(const std::string& text) {
  if (text == "ordered") kind_ = Kind::ordered;
  else if (text == "descending") kind_ = Kind::descending;
  else if (text.rfind("random:", 0) == 0) kind_ = Kind::random, state_ = std::strtoull(text.c_str() + 7, nullptr, 10) * 2 + 1;
  else throw Report("FLOWMAP_HOST_CUDA_SCHEDULE=" + text + ": want ordered, descending or random:SEED");
}

std::uint64_t Schedule::pick(std::uint64_t n) {
  if (kind_ == Kind::ordered || n < 2) return 0;
  if (kind_ == Kind::descending) return n - 1;
  state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
  return (state_ >> 33) % n;
}

namespace {

// 0 .. n-1 in the order of the schedule.
std::vector<std::uint32_t> order_of(std::uint64_t n) {
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  if (!Schedule::current().ordered())
    for (std::uint64_t i = 0; i + 1 < n; ++i) std::swap(order[i], order[i + Schedule::current().pick(n - i)]);
  return order;
}

// ---- fibers -------------------------------------------------------------------------------------------------------------------------------

constexpr std::size_t stack_bytes = 128 << 10;

// Switching: on x86-64 the registers that a call preserves and the stack pointer; elsewhere ucontext, which also asks the system.
#if defined(__x86_64__)
extern "C" void host_cuda_switch(void** save, void* load);
asm(R"(
.text
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
  ret
.size host_cuda_switch, .-host_cuda_switch
)");
#endif

enum class State { ready, at_barrier, at_exchange, done };

struct Fiber {
  std::unique_ptr<std::byte[]> stack{new std::byte[stack_bytes]};
#if defined(__x86_64__)
  void* sp = nullptr;
#else
  ucontext_t context;
#endif
  void* sanitizer = nullptr;
  State state = State::done;
  std::uint32_t thread = 0;
  unsigned mask = 0;                       // of the exchange it waits for
  int from = 0;                            // the lane whose value it wants
  std::uint64_t brought = 0;
};

struct Warp {
  unsigned waiting = 0, ended = 0;         // lanes at an exchange, and those that will not come to one
  unsigned mask = 0;                       // of all that wait; 0 where groups of lanes have exchanges of their own
  std::uint64_t value[32] = {};
};

struct Block {
  const std::function<void()>* thread = nullptr;
  dim3 size;
  std::uint32_t threads = 0, finished = 0, at_barrier = 0;
  std::vector<Fiber*> fibers;              // by thread; null before its start
  std::vector<Warp> warps;
  std::vector<std::uint32_t> ready;        // to be gone on with
  Fiber* running = nullptr;
  std::string report;
};
Block* block = nullptr;

#if defined(__x86_64__)
void* scheduler_sp = nullptr;
#else
ucontext_t scheduler_context;
#endif
#ifdef FM_ASAN
void* scheduler_sanitizer = nullptr;
const void* scheduler_stack = nullptr;
std::size_t scheduler_stack_bytes = 0;
#endif

std::vector<std::unique_ptr<Fiber>>& all_fibers() {
  static std::vector<std::unique_ptr<Fiber>> fibers;
  return fibers;
}
std::vector<Fiber*> idle;

void arrived([[maybe_unused]] Fiber* on) {
#ifdef FM_ASAN
  __sanitizer_finish_switch_fiber(on ? on->sanitizer : scheduler_sanitizer, on ? &scheduler_stack : nullptr, on ? &scheduler_stack_bytes : nullptr);
#endif
}

// From a fiber back to whoever runs the block. `for_good`: the fiber's thread has ended.
void to_scheduler([[maybe_unused]] bool for_good = false) {
  Fiber* from = block->running;
#ifdef FM_ASAN
  __sanitizer_start_switch_fiber(for_good ? nullptr : &from->sanitizer, scheduler_stack, scheduler_stack_bytes);
#endif
#if defined(__x86_64__)
  host_cuda_switch(&from->sp, scheduler_sp);
#else
  swapcontext(&from->context, &scheduler_context);
#endif
  arrived(from);
}

void set_place(std::uint32_t thread) {
  place.thread = {thread % block->size.x, thread / block->size.x % block->size.y, thread / block->size.x / block->size.y};
}

// Nothing of the thread's stack is destroyed: `what` must not stay there.
[[noreturn]] void fail(std::string what) {
  block->report = std::move(what);
  to_scheduler();
  std::abort();                            // nobody goes on with a thread that failed
}

void fiber_main() {
  arrived(block->running);
  for (;;) {
    Fiber* self = block->running;
    try {
      (*block->thread)();
    } catch (const std::exception& e) {
      block->report = e.what();
    }
    self->state = State::done;
    to_scheduler();
  }
}

void prepare(Fiber& f) {
#if defined(__x86_64__)
  auto top = reinterpret_cast<std::uintptr_t>(f.stack.get() + stack_bytes) & ~std::uintptr_t{15};
  auto* sp = reinterpret_cast<void**>(top);
  *--sp = nullptr;                         // as if called: the stack is 16 n + 8 at the first instruction
  *--sp = reinterpret_cast<void*>(&fiber_main);
  for (int i = 0; i < 6; ++i) *--sp = nullptr;
  f.sp = sp;
#else
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack.get();
  f.context.uc_stack.ss_size = stack_bytes;
  f.context.uc_link = nullptr;
  makecontext(&f.context, &fiber_main, 0);
#endif
}

Fiber* take_fiber() {
  if (idle.empty()) {
    all_fibers().push_back(std::make_unique<Fiber>());
    prepare(*all_fibers().back());
    idle.push_back(all_fibers().back().get());
  }
  Fiber* f = idle.back();
  idle.pop_back();
  return f;
}

// Runs thread t until it ends or waits.
void go_on(std::uint32_t t) {
  Fiber*& f = block->fibers[t];
  if (!f) {
    f = take_fiber();
    f->thread = t;
    f->state = State::ready;
  }
  block->running = f;
  set_place(t);
  if (watcher) watcher->thread_runs(t);
#ifdef FM_ASAN
  __sanitizer_start_switch_fiber(&scheduler_sanitizer, f->stack.get(), stack_bytes);
#endif
#if defined(__x86_64__)
  host_cuda_switch(&scheduler_sp, f->sp);
#else
  swapcontext(&scheduler_context, &f->context);
#endif
  arrived(nullptr);
  if (watcher) watcher->thread_rests();
  if (!block->report.empty()) throw Report(block->report);
  if (f->state == State::done) {
    ++block->finished;
    block->warps[t / 32].ended |= 1u << t % 32;
    idle.push_back(f);
  }
}

std::string text(std::uint64_t n) { return std::to_string(n); }

std::string name_of_thread(std::uint32_t t) {
  return "thread " + text(t) + " of block (" + text(place.block.x) + ", " + text(place.block.y) + ", " + text(place.block.z) + ")";
}

void release_barrier() {
  for (std::uint32_t t = 0; t < block->threads; ++t)
    if (block->fibers[t] && block->fibers[t]->state == State::at_barrier) {
      block->fibers[t]->state = State::ready;
      block->ready.push_back(t);
    }
  block->at_barrier = 0;
  if (watcher) watcher->barrier();
}

// Nobody can go on: everyone left is at the barrier, or something is wrong.
void resolve_wait() {
  if (block->at_barrier + block->finished == block->threads && block->at_barrier > 0) {
    if (block->finished > 0)
      throw Report("__syncthreads: " + text(block->at_barrier) + " threads of block (" + text(place.block.x) + ", " + text(place.block.y) + ", " +
                   text(place.block.z) + ") wait, " + text(block->finished) + " have ended before");
    release_barrier();
    return;
  }
  for (std::uint32_t t = 0; t < block->threads; ++t) {
    const Fiber* f = block->fibers[t];
    if (!f || f->state != State::at_exchange) continue;
    const Warp& w = block->warps[t / 32];
    throw Report("warp exchange: " + name_of_thread(t) + " names lanes " + text(f->mask) + " (a mask), of which only " + text(w.waiting & f->mask) + " came");
  }
  throw Report("a block waits for itself");
}

void run_block() {
  const std::vector<std::uint32_t> order = order_of(block->threads);
  std::size_t next = 0;
  while (block->finished < block->threads) {
    const std::uint64_t choices = block->ready.size() + (next < order.size() ? 1 : 0);
    if (choices == 0) {
      resolve_wait();
      continue;
    }
    // A thread that has not begun comes last among those that can run; when ordered, threads begin first.
    std::uint64_t pick = Schedule::current().ordered() && next < order.size() ? block->ready.size() : Schedule::current().pick(choices);
    if (pick == block->ready.size()) {
      go_on(order[next++]);
    } else {
      const std::uint32_t t = block->ready[pick];
      block->ready[pick] = block->ready.back();
      block->ready.pop_back();
      go_on(t);
    }
  }
}

unsigned all_of(std::uint32_t lanes) { return lanes < 32 ? (1u << lanes) - 1 : 0xffffffffu; }

// Groups of lanes that have nothing to do with each other may exchange at the same time; groups that overlap may not.
void meet_other_masks(std::uint32_t first, unsigned mask) {
  Warp& w = block->warps[first / 32];
  for (unsigned left = w.waiting; left != 0; left &= left - 1) {
    const unsigned theirs = block->fibers[first + static_cast<std::uint32_t>(std::countr_zero(left))]->mask;
    if (theirs != mask && (theirs & mask))
      fail("warp exchange: " + name_of_thread(block->running->thread) + " comes with mask " + text(mask) + ", others with " + text(theirs));
  }
  w.mask = 0;
}

std::vector<std::byte> shared_bytes_of_block;

}  // namespace

void* shared_memory(std::size_t alignment) {
  const auto p = (reinterpret_cast<std::uintptr_t>(shared_bytes_of_block.data()) + 127) & ~std::uintptr_t{127};
  (void)alignment;
  return reinterpret_cast<void*>(p);
}

void fail_thread(std::string what) { fail(std::move(what)); }

void note_atomic(const void* p, std::size_t bytes) {
  if (watcher) watcher->atomic(p, bytes);
}

void sync_threads() {
  block->running->state = State::at_barrier;
  ++block->at_barrier;
  to_scheduler();
}

int own_lane() { return static_cast<int>(block->running->thread % 32); }

std::uint64_t exchange(unsigned mask, std::uint64_t value, int from) {
  Fiber* self = block->running;
  Warp& w = block->warps[self->thread / 32];
  const unsigned own = 1u << (self->thread % 32);
  const std::uint32_t first = self->thread / 32 * 32, lanes = std::min<std::uint32_t>(32, block->threads - first);
  if (mask == 0xffffffffu) mask = all_of(lanes);                           // a full mask in a warp that is not full means those that there are
  if (!(mask & own)) fail("warp exchange: " + name_of_thread(self->thread) + " is not in its own mask " + text(mask));
  if (const unsigned absent = mask & (w.ended | ~all_of(lanes))) {
    const auto lane = static_cast<std::uint32_t>(std::countr_zero(absent));
    fail("warp exchange: " + name_of_thread(self->thread) + " names lane " + text(lane) + " in its mask, which " + (lane >= lanes ? "is not there" : "has ended"));
  }
  if (w.waiting == 0) w.mask = mask;
  else if (w.mask != mask) meet_other_masks(first, mask);
  w.waiting |= own;
  w.value[self->thread % 32] = value;
  self->mask = mask;
  self->from = from >= 0 && from < 32 ? from : own_lane();
  if ((w.waiting & mask) != mask) {
    self->state = State::at_exchange;
    to_scheduler();
    return self->brought;
  }
  // All are here. Each gets its value now: the first to go on may come with the next one before the last goes on.
  w.waiting &= ~mask;
  if (watcher) watcher->warp_meets(first, mask, mask == all_of(lanes));
  for (std::uint32_t lane = 0; lane < lanes; ++lane) {
    if (!(mask >> lane & 1u)) continue;
    Fiber* f = block->fibers[first + lane];
    f->brought = w.value[f->from];
    if (f == self) continue;
    f->state = State::ready;
    block->ready.push_back(first + lane);
  }
  return self->brought;
}

void sync_warp(unsigned mask) { exchange(mask, 0, 0); }

void run_grid(dim3 grid, dim3 size, std::size_t shared_bytes, const std::function<void()>& thread, const void* kernel) {
  Block b;
  b.thread = &thread;
  b.size = size;
  b.threads = size.x * size.y * size.z;
  place.block_size = size;
  place.grid_size = grid;
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  block = &b;
  shared_bytes_of_block.assign(shared_bytes + 256, std::byte{0xff});
  if (watcher) watcher->launch_begins(shared_memory(1), shared_bytes);
  try {
    for (std::uint32_t i : order_of(blocks)) {
      place.block = {i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y};
      shared_bytes_of_block.assign(shared_bytes + 256, std::byte{0xff});
      b.finished = b.at_barrier = 0;
      b.fibers.assign(b.threads, nullptr);
      b.warps.assign((b.threads + 31) / 32, {});
      b.ready.clear();
      if (watcher) watcher->block_begins();
      run_block();
    }
  } catch (const std::exception& e) {
    idle.clear();
    for (auto& f : all_fibers()) {                 // abandoned threads begin anew
      prepare(*f);
      idle.push_back(f.get());
    }
    block = nullptr;
    throw Report(name_of_kernel(kernel) + ": " + e.what());
  }
  block = nullptr;
}

}  // namespace host_cuda
