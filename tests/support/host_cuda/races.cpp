// Finds races: two threads of a launch access the same place, at least one of them writes, and no barrier orders the accesses. Two threads of a block
// are ordered if the block, or the lanes of their warp, met between the accesses. Threads of two blocks are never ordered. Two atomic writes are no
// race. The order in which the threads happened to run does not matter.
//
// A clock ticks when a block begins and when threads meet, so the ticks of two accesses show whether threads met in between. Each word of device and
// shared memory has a cell with its last accesses; a partly accessed word gets a cell for each byte. The same cells record
// allocations: an access outside all allocations is reported where it happens.
#include "races.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "executor.h"
#include "memory.h"
#include "watch.h"

extern "C" char __data_start, end;  // bounds of the linker's layout: static __shared__ variables are in between

namespace host_cuda {

thread_local bool watching = false;
Watched watched;

namespace {

// An access as (tick, atomic, thread), so that later accesses have larger stamps.
using Stamp = std::uint64_t;
constexpr Stamp tick_one = 1 << 16, atomic_bit = 1 << 10, thread_bits = atomic_bit - 1, split_bit = Stamp{1} << 63;
constexpr Stamp allocated = 1;  // Cell::write of a place that no thread has written; 0: memory that may not be accessed

std::uint32_t thread_of(Stamp s) { return static_cast<std::uint32_t>(s & thread_bits); }
std::uint32_t warp_of(Stamp s) { return thread_of(s) / 32; }

// The last accesses to a word or byte. It keeps two reads, of two warps if two warps have read: a later write must come after both, and a thread's own
// read must not hide that of another thread.
struct Cell {
  Stamp write = 0, read = 0, other_read = 0;
  Stamp first_read = 0;  // the first in this launch: shows whether another block has read
};

struct Region : Span {
  Cell* cells = nullptr;  // one per word
};

// Reserves address space for the cells; pages are added on use.
Region region_of(const void* begin, std::size_t bytes) {
  const std::uintptr_t first = reinterpret_cast<std::uintptr_t>(begin) & ~std::uintptr_t{3};
  void* p = mmap(nullptr, (bytes / 4 + 2) * sizeof(Cell), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw Report("host_cuda: cannot map the race checker's memory: raise ulimit -v");
  return {{first, bytes + (reinterpret_cast<std::uintptr_t>(begin) - first)}, static_cast<Cell*>(p)};
}

class Checker final : public Watcher {
 public:
  Checker() : statics_(region_of(&__data_start, static_cast<std::size_t>(&end - &__data_start))) {
    watched.statics = statics_;
    watcher = this;
  }

  void arena(const void* base) override {
    arenas_.push_back(region_of(base, device_bytes));
    std::sort(arenas_.begin(), arenas_.end(), [](const Region& a, const Region& b) { return a.begin < b.begin; });
    watched.arenas = {arenas_.front().begin, arenas_.back().begin + arenas_.back().bytes - arenas_.front().begin};
  }
  void taken(const void* p, std::size_t bytes) override { allow(*region_with(p), p, bytes); }
  void given(const void* p, std::size_t bytes) override { forbid(*region_with(p), p, bytes); }

  void launch_begins(const void* shared, std::size_t bytes) override {
    tick();
    launch_ = now_;
    blocks_.clear();
    forbid(shared_, reinterpret_cast<const void*>(shared_.begin), shared_.bytes);
    shared_cells_.assign((bytes + shared_slack) / 4 + 1, {});
    shared_ = {{reinterpret_cast<std::uintptr_t>(shared), bytes + shared_slack}, shared_cells_.data()};
    watched.shared = shared_;
    allow(shared_, shared, bytes);
  }
  void block_begins() override {
    tick();
    block_ = met_all_ = now_;
    blocks_.push_back({now_, place.block});
  }
  void thread_runs(std::uint32_t thread) override {
    now_ = (now_ & ~thread_bits) | thread;
    watching = true;
  }
  void thread_rests() override { watching = false; }
  void barrier() override {
    tick();
    met_all_ = now_;
  }
  void warp_meets(std::uint32_t first, unsigned lanes, bool all) override {
    const std::uint32_t thread = thread_of(now_);
    tick();
    if (all)
      met_warp_[first / 32] = now_;
    else
      met_some(first, lanes);
    now_ |= thread;
  }
  void atomic(const void* p, std::size_t bytes) override {
    if (watching && watched.has(p)) access(p, bytes, Access::atomic);
  }

  void access(const void* p, std::size_t bytes, Access kind) {
    Region* r = region_with(p);
    if (!r) return;  // between two arenas
    const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(p) - r->begin;
    what_ = {p, bytes, kind};
    since_ = r == &shared_ || r == &statics_ ? block_ : launch_;  // a block has shared memory of its own
    if (at % 4 == 0 && bytes % 4 == 0) {
      for (std::size_t i = 0; i < bytes / 4; ++i) whole(r->cells[at / 4 + i]);
    } else {
      for (std::size_t i = 0; i < bytes; ++i) check(byte_cell(r->cells[(at + i) / 4], (at + i) % 4));
    }
  }

 private:
  using Bytes = std::array<Cell, 4>;
  struct Begun {
    Stamp tick;
    uint3 block;
  };
  struct What {
    const void* p;
    std::size_t bytes;
    Access kind;
  };
  static constexpr std::size_t shared_slack = 64;  // bytes beyond a block's shared memory where accesses are reported

  void tick() { now_ = (now_ & ~(tick_one - 1)) + tick_one; }

  // Some lanes of a warp met. Each of them now comes after the past accesses of all of them, and after all accesses that any of them came after.
  void met_some(std::uint32_t first, unsigned lanes) {
    std::array<Stamp, 32> known{};
    for (std::uint32_t u = 0; u < 32; ++u)
      for (std::uint32_t v = 0; lanes >> u & 1u && v < 32; ++v) known[v] = std::max(known[v], lanes >> v & 1u ? now_ : met_[first + u][v]);
    for (std::uint32_t u = 0; u < 32; ++u)
      if (lanes >> u & 1u) met_[first + u] = known;
  }

  Region* region_with(const void* p) {
    if (shared_.has(p)) return &shared_;
    for (Region& r : arenas_)
      if (r.has(p)) return &r;
    return statics_.has(p) ? &statics_ : nullptr;
  }

  Bytes& bytes_of(const Cell& c) { return split_[c.write & ~split_bit]; }

  Cell& byte_cell(Cell& c, std::size_t i) {
    if (!(c.write & split_bit)) {
      std::size_t free = split_.size();
      if (free_splits_.empty())
        split_.emplace_back();
      else
        free = free_splits_.back(), free_splits_.pop_back();
      split_[free].fill(c);
      c.write = split_bit | free;
    }
    return bytes_of(c)[i];
  }

  void allow(Region& r, const void* p, std::size_t bytes) {
    const std::size_t at = (reinterpret_cast<std::uintptr_t>(p) - r.begin) / 4;
    std::fill_n(r.cells + at, bytes / 4, Cell{.write = allocated});
    for (std::size_t i = 0; i < bytes % 4; ++i) byte_cell(r.cells[at + bytes / 4], i).write = allocated;
  }
  void forbid(Region& r, const void* p, std::size_t bytes) {
    const std::size_t at = (reinterpret_cast<std::uintptr_t>(p) - r.begin) / 4;
    for (std::size_t i = at; i < at + (bytes + 3) / 4; ++i) {
      if (r.cells[i].write & split_bit) free_splits_.push_back(r.cells[i].write & ~split_bit);
      r.cells[i] = {};
    }
  }

  // ---- the rules -----------------------------------------------------------------------------------------------------------------------

  void whole(Cell& c) {
    if (!(c.write & split_bit)) return check(c);
    for (Cell& byte : bytes_of(c)) check(byte);
  }

  // Whether access s of this launch is ordered before the running thread.
  bool after(Stamp s) const {
    if (s < block_) return false;
    if (s < met_all_ || thread_of(s) == thread_of(now_)) return true;
    if (warp_of(s) != warp_of(now_)) return false;
    return s < met_warp_[warp_of(s)] || s < met_[thread_of(now_)][thread_of(s) % 32];
  }
  bool races(Stamp s) const { return s >= since_ && !after(s); }

  void check(Cell& c) {
    if (c.write == 0) not_allocated(c);
    if (what_.kind == Access::read) {
      if (races(c.write)) report(c.write, true);
      note_read(c);
      return;
    }
    const bool atomic = what_.kind == Access::atomic;
    if (races(c.write) && !(atomic && c.write & atomic_bit)) report(c.write, true);
    for (const Stamp read : {c.read, c.other_read})
      if (races(read)) report(read, false);
    if (c.first_read < block_ && races(c.first_read)) report(c.first_read, false);
    c.write = now_ | (atomic ? atomic_bit : 0);
  }

  void note_read(Cell& c) {
    if (c.read == now_) return;
    const bool new_place = warp_of(c.read) != warp_of(now_) || warp_of(c.other_read) == warp_of(c.read) || c.other_read < met_all_;
    if (thread_of(c.read) != thread_of(now_) && new_place) c.other_read = c.read;
    c.read = now_;
    if (c.first_read < launch_) c.first_read = now_;
  }

  // ---- reports -------------------------------------------------------------------------------------------------------------------------

  static std::string in_words(const uint3& b) {
    return "(" + std::to_string(b.x) + ", " + std::to_string(b.y) + ", " + std::to_string(b.z) + ")";
  }

  std::string this_access() const {
    const char* kind = what_.kind == Access::read ? " reads " : what_.kind == Access::write ? " writes " : " adds to ";
    const auto at = reinterpret_cast<std::uintptr_t>(what_.p);
    std::string where = at - shared_.begin < shared_.bytes ? "shared memory + " + std::to_string(at - shared_.begin) : describe(what_.p);
    if (where.empty()) where = "a static __shared__ variable";
    return "thread " + std::to_string(thread_of(now_)) + " of block " + in_words(place.block) + kind + std::to_string(what_.bytes) +
           " bytes at " + where;
  }

  [[noreturn]] void report(Stamp other, bool wrote) const {
    watching = false;
    const auto begun = std::upper_bound(blocks_.begin(), blocks_.end(), other, [](Stamp s, const Begun& b) { return s < b.tick; }) - 1;
    const bool same = other >= block_;
    fail_thread("race: " + this_access() + ", which thread " + std::to_string(thread_of(other)) + " of " +
                (same ? "the same block" : "block " + in_words(begun->block)) +
                (!wrote               ? " read"
                 : other & atomic_bit ? " added to"
                                      : " wrote") +
                (!same                             ? "; blocks of a launch have no order"
                 : warp_of(other) == warp_of(now_) ? ", without __syncwarp or __syncthreads in between"
                                                   : ", without __syncthreads in between"));
  }

  void not_allocated(Cell& c) const {
    if (&c >= statics_.cells && &c < statics_.cells + statics_.bytes / 4 + 2) {
      c.write = allocated;
      return;
    }
    watching = false;
    fail_thread("out of bounds: " + this_access());
  }

  Stamp now_ = tick_one, launch_ = 0, block_ = 0;  // the running thread's stamp; the first stamps of the launch and of the block
  Stamp met_all_ = 0, since_ = 0;                  // the last barrier of the block; accesses before since_ do not matter
  std::array<Stamp, 32> met_warp_{};               // the last meeting of all lanes of a warp
  std::vector<std::array<Stamp, 32>> met_{1024};   // [thread][lane]: the thread comes after the lane's accesses before this stamp, by meetings of some lanes
  std::vector<Begun> blocks_;
  Region statics_, shared_;
  std::vector<Region> arenas_;
  std::vector<Cell> shared_cells_;
  std::vector<Bytes> split_;
  std::vector<std::size_t> free_splits_;
  What what_{};
};

Checker checker;

}  // namespace

void check_access(const void* p, std::size_t bytes, Access access) { checker.access(p, bytes, access); }

}  // namespace host_cuda
