#include "executor.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "fiber.h"
#include "watch.h"

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
  else throw Report("FLOWMAP_HOST_CUDA_SCHEDULE=" + text + ": the value must be ordered, descending or random:SEED");
}

namespace {

// 0 .. n-1 in the order of the schedule.
void order_of(std::uint64_t n, std::vector<std::uint32_t>& order) {
  order.resize(n);
  std::iota(order.begin(), order.end(), 0u);
  Schedule& schedule = Schedule::current();
  if (!schedule.ordered())
    for (std::uint64_t i = 0; i + 1 < n; ++i) std::swap(order[i], order[i + schedule.pick(n - i)]);
}

// ---- a block ------------------------------------------------------------------------------------------------------------------------------

// A set of lanes has one bit for each lane.
struct Warp {
  unsigned at_exchange = 0, at_barrier = 0, ended = 0;
  unsigned mask = 0;                       // common mask of all lanes at an exchange; 0 if groups of lanes have different masks
  unsigned masks[32];                      // each lane's exchange: its mask, its source lane, the value it brings and the value it gets
  int from[32];
  std::uint64_t value[32], got[32];

  void begin() { at_exchange = at_barrier = ended = mask = 0; }
};

struct Block {
  const std::function<void()>* thread = nullptr;
  Schedule& schedule = Schedule::current();
  std::uint32_t threads = 0, finished = 0, at_barrier = 0;
  std::uint32_t running = 0;
  std::vector<uint3> places;               // of the threads in the block
  std::vector<Fiber*> fibers;              // of each thread; null before the thread starts
  std::vector<Warp> warps;
  std::vector<std::uint32_t> order;        // order in which threads begin; `begun` of them have begun
  std::uint32_t begun = 0;
  std::vector<std::uint32_t> ready;        // threads that have begun and can run; the ordered schedule takes the last
  Fiber host;
  std::string report;
};
Block* block = nullptr;

constexpr std::uint32_t no_thread = ~0u;

std::string text(std::uint64_t n) { return std::to_string(n); }

std::string name_of_thread(std::uint32_t t) {
  return "thread " + text(t) + " of block (" + text(place.block.x) + ", " + text(place.block.y) + ", " + text(place.block.z) + ")";
}

// Makes lanes of warp i ready to run. In the ordered schedule the first of them is next.
void make_ready(std::uint32_t i, unsigned lanes) {
  while (lanes != 0) {
    const auto lane = static_cast<std::uint32_t>(std::bit_width(lanes)) - 1;
    lanes ^= 1u << lane;
    block->ready.push_back(i * 32 + lane);
  }
}

void release_barrier() {
  for (std::size_t i = block->warps.size(); i-- > 0;) make_ready(static_cast<std::uint32_t>(i), std::exchange(block->warps[i].at_barrier, 0u));
  block->at_barrier = 0;
  if (watcher) watcher->barrier();
}

// Called when no thread can run. Either all threads are at the barrier, or there is an error.
void resolve_wait() {
  if (block->at_barrier + block->finished == block->threads && block->at_barrier > 0) {
    if (block->finished == 0) return release_barrier();
    block->report = "__syncthreads: " + text(block->at_barrier) + " threads of block (" + text(place.block.x) + ", " + text(place.block.y) + ", " +
                    text(place.block.z) + ") wait at the barrier, but " + text(block->finished) + " ended without reaching it";
    return;
  }
  block->report = "all threads of a block that have not ended wait for each other, and none can run";
  for (std::uint32_t i = 0; i < block->warps.size(); ++i) {
    const Warp& w = block->warps[i];
    if (w.at_exchange == 0) continue;
    const auto lane = static_cast<std::uint32_t>(std::countr_zero(w.at_exchange));
    block->report = "warp exchange: " + name_of_thread(i * 32 + lane) + " names the lanes of mask " + text(w.masks[lane]) + ", but only the lanes of mask " +
                    text(w.at_exchange & w.masks[lane]) + " arrived";
    return;
  }
}

// The next thread to run; no_thread if the block has ended or has a report.
std::uint32_t choose() {
  Block& b = *block;
  for (;;) {
    if (!b.report.empty()) return no_thread;
    const bool more = b.begun < b.threads;
    if (more && b.ready.empty()) return b.order[b.begun++];
    if (b.finished == b.threads) return no_thread;
    const std::size_t choices = b.ready.size() + (more ? 1 : 0);
    if (choices == 0) {
      resolve_wait();
      continue;
    }
    // A thread that has not begun comes last among the runnable ones: in the ordered schedule, a warp without exchanges ends before the next begins.
    const std::uint64_t pick = b.schedule.ordered() ? b.ready.size() - 1 : b.schedule.pick(choices);
    if (pick == b.ready.size()) return b.order[b.begun++];
    const std::uint32_t t = b.ready[pick];
    b.ready[pick] = b.ready.back();
    b.ready.pop_back();
    return t;
  }
}

void now_runs(std::uint32_t t) {
  block->running = t;
  place.thread = block->places[t];
  if (watcher) watcher->thread_runs(t);
}

void fiber_main();

// Switches from `self` to thread t, or for no_thread to the host's fiber, which runs the block.
void switch_to(Fiber& self, std::uint32_t t) {
  if (t == no_thread) return switch_fiber(self, block->host);
  Fiber*& f = block->fibers[t];
  if (!f) f = &take_fiber(&fiber_main);
  now_runs(t);
  if (f != &self) switch_fiber(self, *f);
}

// Runs other threads while the running thread waits for them.
void give_way() {
  Fiber& self = *block->fibers[block->running];
  if (watcher) watcher->thread_rests();
  switch_to(self, choose());
}

// The destructors of the thread's stack never run, so `what` must not stay there.
[[noreturn]] void fail(std::string what) {
  block->report = std::move(what);
  give_way();
  std::abort();                            // a failed thread never continues
}

void run_thread() {
  try {
    (*block->thread)();
  } catch (const std::exception& e) {
    block->report = e.what();
  }
}

// Runs threads one after another. After a thread that has not waited, the next begins without a switch.
void fiber_main() {
  arrived();
  for (;;) {
    run_thread();
    Block& b = *block;
    if (watcher) watcher->thread_rests();
    ++b.finished;
    b.warps[b.running / 32].ended |= 1u << b.running % 32;
    Fiber& self = *b.fibers[b.running];
    const std::uint32_t t = choose();
    if (t != no_thread && !b.fibers[t]) {
      b.fibers[t] = &self;
      now_runs(t);
    } else {
      give_fiber(self);
      switch_to(self, t);
    }
  }
}

// Runs one block. Throws Report.
void run_block() {
  Block& b = *block;
  b.finished = b.at_barrier = b.begun = 0;
  if (!b.schedule.ordered()) order_of(b.threads, b.order);
  std::fill(b.fibers.begin(), b.fibers.end(), nullptr);
  for (Warp& w : b.warps) w.begin();
  b.ready.clear();
  if (watcher) watcher->block_begins();
  switch_to(b.host, choose());
  if (!b.report.empty()) throw Report(b.report);
}

unsigned all_of(std::uint32_t lanes) { return lanes < 32 ? (1u << lanes) - 1 : 0xffffffffu; }

// Disjoint groups of lanes may exchange at the same time; overlapping groups may not.
void meet_other_masks(Warp& w, unsigned mask) {
  for (unsigned left = w.at_exchange; left != 0; left &= left - 1) {
    const unsigned theirs = w.masks[std::countr_zero(left)];
    if (theirs != mask && (theirs & mask))
      fail("warp exchange: " + name_of_thread(block->running) + " calls with mask " + text(mask) + ", which overlaps a waiting lane's mask " + text(theirs));
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
  Block& b = *block;
  b.warps[b.running / 32].at_barrier |= 1u << b.running % 32;
  ++b.at_barrier;
  give_way();
}

int own_lane() { return static_cast<int>(block->running % 32); }

std::uint64_t exchange(unsigned mask, std::uint64_t value, int from) {
  Block& b = *block;
  const std::uint32_t self = b.running, lane = self % 32, first = self - lane, lanes = std::min<std::uint32_t>(32, b.threads - first);
  Warp& w = b.warps[self / 32];
  const unsigned own = 1u << lane, whole = all_of(lanes);
  if (mask == 0xffffffffu) mask = whole;                                   // a full mask in a partial warp means the existing lanes
  if (!(mask & own)) fail("warp exchange: " + name_of_thread(self) + " is not in its own mask " + text(mask));
  if (const unsigned absent = mask & (w.ended | ~whole)) {
    const auto other = static_cast<std::uint32_t>(std::countr_zero(absent));
    fail("warp exchange: " + name_of_thread(self) + " names lane " + text(other) + " in its mask, which " + (other >= lanes ? "does not exist" : "has ended"));
  }
  if (w.at_exchange == 0) w.mask = mask;
  else if (w.mask != mask) meet_other_masks(w, mask);
  w.at_exchange |= own;
  w.masks[lane] = mask;
  w.from[lane] = from >= 0 && from < 32 ? from : static_cast<int>(lane);
  w.value[lane] = value;
  if ((w.at_exchange & mask) != mask) {
    give_way();
    return w.got[lane];
  }
  // All lanes of the mask have arrived. Each gets its value now, because one lane may bring its next value before another lane has run.
  w.at_exchange &= ~mask;
  if (watcher) watcher->warp_meets(first, mask, mask == whole);
  for (unsigned left = mask; left != 0; left &= left - 1) {
    const int other = std::countr_zero(left);
    w.got[other] = w.value[w.from[other]];
  }
  make_ready(self / 32, mask & ~own);
  return w.got[lane];
}

void sync_warp(unsigned mask) { exchange(mask, 0, 0); }

void run_grid(dim3 grid, dim3 size, std::size_t shared_bytes, const std::function<void()>& thread, const void* kernel) {
  Block b;
  b.thread = &thread;
  b.threads = size.x * size.y * size.z;
  for (unsigned z = 0; z < size.z; ++z)
    for (unsigned y = 0; y < size.y; ++y)
      for (unsigned x = 0; x < size.x; ++x) b.places.push_back({x, y, z});
  b.fibers.resize(b.threads);
  b.warps.resize((b.threads + 31) / 32);
  b.ready.reserve(b.threads);
  order_of(b.threads, b.order);
  place.block_size = size;
  place.grid_size = grid;
  std::vector<std::uint32_t> blocks;
  order_of(std::uint64_t{grid.x} * grid.y * grid.z, blocks);
  block = &b;
  shared_bytes_of_block.assign(shared_bytes + 256, std::byte{0xff});
  if (watcher) watcher->launch_begins(shared_memory(1), shared_bytes);
  try {
    for (std::uint32_t i : blocks) {
      place.block = {i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y};
      std::memset(shared_bytes_of_block.data(), 0xff, shared_bytes_of_block.size());
      run_block();
    }
  } catch (const std::exception& e) {
    abandon_fibers(&fiber_main);           // their fibers can be used again
    block = nullptr;
    throw Report(name_of_kernel(kernel) + ": " + e.what());
  }
  block = nullptr;
}

}  // namespace host_cuda
