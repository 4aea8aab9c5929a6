#include "tensor/memory/allocator.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tensor/error.h"
#include "tensor/kernels/cpu/scratch.h"
#include "tensor/kernels/cuda/backend.h"
#include "tensor/memory/machine_memory.h"
#include "tensor/memory/pages.h"
#include "tensor/memory/requests.h"
#include "tensor/profile.h"

namespace fm {
namespace {

// Eight classes to each power of two: at most 12.5 % of a block is unused.
std::size_t size_class(std::size_t bytes) {
  if (bytes <= 512) return bytes == 0 ? 64 : (bytes + 63) / 64 * 64;
  std::size_t step = 64;
  while (step * 16 <= bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

constexpr std::size_t address_space = std::size_t{1} << 47;     // x86-64 user space has 47 address bits

[[noreturn]] void out_of_memory(std::size_t size, const std::string& where) {
  throw Error("out of memory" + where + ": " + std::to_string(size >> 20) + " MiB requested; use a smaller batch or recompute");
}

using FreeLists = std::unordered_map<std::size_t, std::vector<std::byte*>>;   // by size

}  // namespace

// Guarded by the mutex of its device's pool.
struct ReservedBlocks {
  Device device;
  FreeLists free;
  bool open = true;
};

namespace {

class Pool {
 public:
  explicit Pool(Device device) : device_(device) {}

  std::byte* take(std::size_t size, const char* op, ReservedBlocks* reserved) {
    const std::lock_guard lock(mutex_);
    std::size_t& of_op = by_op_[op];
    std::byte* p = reserved ? from(reserved->free[size], size) : nullptr;
    if (!p) p = from(free_[size], size);
    if (!p) p = ask(size), ++requests_;
    of_op += size;                                   // counted last, after all steps that can fail
    stats_.live += size;
    stats_.peak = std::max(stats_.peak, stats_.live);
    stats_.most = std::max(stats_.most, stats_.live + stats_.cached);
    return p;
  }

  void give(std::byte* p, std::size_t size, const char* op, ReservedBlocks* reserved) {
    const std::lock_guard lock(mutex_);
    stats_.live -= size;
    stats_.cached += size;
    by_op_[op] -= size;
    (reserved && reserved->open ? reserved->free : free_)[size].push_back(p);
  }

  void close(ReservedBlocks& reserved) {
    const std::lock_guard lock(mutex_);
    reserved.open = false;
    for (auto& [size, list] : reserved.free) free_[size].insert(free_[size].end(), list.begin(), list.end());
    reserved.free.clear();
  }

  MemoryStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }
  std::int64_t requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  void reset_peak() {
    const std::lock_guard lock(mutex_);
    stats_.peak = stats_.live;
    stats_.most = stats_.live + stats_.cached;
  }
  std::size_t release() {
    const std::lock_guard lock(mutex_);
    return release_kept();
  }
  std::map<std::string, std::size_t> by_op() {
    const std::lock_guard lock(mutex_);
    std::map<std::string, std::size_t> out;
    for (const auto& [op, bytes] : by_op_)
      if (bytes) out[op] += bytes;
    return out;
  }

 private:
  // Requests a block from the system or the GPU. If it has none, frees the kept blocks of other sizes and tries again.
  std::byte* ask(std::size_t size) {
    const bool cpu = !device_.is_cuda(), possible = !cpu || size < address_space;
    if (cpu && stats_.live + stats_.cached + size > memory_limit() && stats_.live + size <= memory_limit()) release_kept();
    void* p = possible ? new_block(size) : nullptr;
    if (!p && possible && release_kept() > 0) p = new_block(size);
    if (!p) out_of_memory(size, device_.is_cuda() ? " on " + to_string(device_) : "");
    return static_cast<std::byte*>(p);
  }
  void* new_block(std::size_t size) const {            // null if unavailable
    if (device_.is_cuda()) return cuda::on(device_).memory.take(size);
    return allocate_pages(size, 64);
  }

  std::size_t release_kept() {
    std::size_t bytes = 0;
    for (auto& [size, list] : free_) {
      for (std::byte* block : list) device_.is_cuda() ? cuda::on(device_).memory.give_back(block) : std::free(block);
      bytes += size * list.size();
      list.clear();
    }
    stats_.cached -= bytes;
    if (bytes > 0 && !device_.is_cuda()) return_free_pages();
    return bytes;
  }

  std::byte* from(std::vector<std::byte*>& list, std::size_t size) {
    if (list.empty()) return nullptr;
    std::byte* p = list.back();
    list.pop_back();
    stats_.cached -= size;
    return p;
  }

  const Device device_;
  std::mutex mutex_;
  MemoryStats stats_;
  std::int64_t requests_ = 0;
  FreeLists free_;
  std::unordered_map<const char*, std::size_t> by_op_;
};

// Pools are never destroyed, because static objects may hold tensors until the very end.
Pool& pool(Device device) {
  static Pool* cpu = new Pool({});
  if (!device.is_cuda()) return *cpu;
  require_device(device);
  static std::mutex mutex;
  static auto* gpus = new std::map<int, Pool>;
  const std::lock_guard lock(mutex);
  return gpus->try_emplace(device.index, device).first->second;
}

thread_local const char* current_op = "other";
thread_local std::shared_ptr<ReservedBlocks> reserved_here;

}  // namespace

MemoryStats memory_stats(Device device) { return pool(device).stats(); }
std::int64_t memory_requests(Device device) { return pool(device).requests(); }
void reset_memory_peak(Device device) { pool(device).reset_peak(); }
std::size_t release_cached_blocks(Device device) { return pool(device).release(); }
std::size_t release_cached_memory(Device device) {
  return release_cached_blocks(device) + (device.is_cuda() ? 0 : cpu::release_thread_scratch());
}

std::size_t memory_limit() {
  static const auto limit = static_cast<std::size_t>(std::min(machine_memory(false).bytes, static_cast<double>(address_space)));
  return limit;
}
std::map<std::string, std::size_t> memory_by_op(Device device) { return pool(device).by_op(); }

OpName::OpName(const char* name) : outer_(current_op) {
  current_op = name;
  if (Profile* p = Profile::current()) p->enter(name);
}
OpName::~OpName() {
  current_op = outer_;
  if (Profile* p = Profile::current()) p->leave();
}

Reserve::Reserve(Device device) : blocks_(std::make_shared<ReservedBlocks>(ReservedBlocks{device, {}, true})) {
  require_device(device);                          // checked here, because the destructor accesses its pool
}
Reserve::~Reserve() { pool(blocks_->device).close(*blocks_); }

Reserve::Use::Use(const Reserve& reserve) : outer_(std::exchange(reserved_here, reserve.blocks_)) {}
Reserve::Use::~Use() { reserved_here = std::move(outer_); }

std::shared_ptr<std::byte> allocate(std::size_t bytes, Device device) {
  const std::size_t size = size_class(bytes);
  const char* op = current_op;
  Pool& from = pool(device);
  std::shared_ptr<ReservedBlocks> reserved = reserved_here && reserved_here->device == device ? reserved_here : nullptr;
  std::byte* p = from.take(size, op, reserved.get());
  if (!device.is_cuda()) poison_if_asked(p, size);
  return {p, [size, op, &from, reserved = std::move(reserved)](std::byte* q) { from.give(q, size, op, reserved.get()); }};
}

}  // namespace fm
