// Memory of tensors. Each device has free lists by size class, over blocks of the system (64-byte aligned, large ones on huge pages) or of the GPU.
//
// Page faults cost more than arithmetic on virtual machines (docs/decisions.md), so a freed block is kept and reused: a training
// step in its steady state requests no memory from the system. Kept blocks go back to the system when release_cached_memory() is called (between two
// stages, whose tensors have other sizes), when the system has no more memory, and before tensors and kept blocks together would exceed the
// memory of the machine. Statistics count the bytes that tensors hold, in total and by the operation that allocated them.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>

#include "tensor/device.h"

namespace fm {

struct MemoryStats {
  std::size_t live = 0;      // bytes held by tensors now
  std::size_t peak = 0;      // the maximum of live since reset_memory_peak()
  std::size_t cached = 0;    // bytes kept for reuse
  std::size_t most = 0;      // the maximum of live + cached since reset_memory_peak(): the memory requested from the system
};

MemoryStats memory_stats(Device device = default_device());
void reset_memory_peak(Device device = default_device());

// Frees the kept blocks of the device and, for the CPU, the calling thread's scratch buffers of kernels (kernels/cpu/scratch.h). Keeps blocks of
// a Reserve. Returns the number of bytes.
std::size_t release_cached_memory(Device device = default_device());
std::size_t release_cached_blocks(Device device);      // frees the kept blocks only: for kernels, which are using the scratch buffers

// Bytes of CPU memory available to this process: the machine's, or less if a control group or `ulimit -v` limits it.
std::size_t memory_limit();

std::map<std::string, std::size_t> memory_by_op(Device device = default_device());   // live bytes by the name of the operation that allocated them

// While the object lives, this thread's allocations and time (profile.h) are counted under the operation `name`. `name` must outlive all tensors,
// as a string literal does.
class OpName {
 public:
  explicit OpName(const char* name);
  ~OpName();
  OpName(const OpName&) = delete;
  OpName& operator=(const OpName&) = delete;

 private:
  const char* outer_;
};

// Memory of a GPU reserved for one owner. Blocks that a thread receives while a Use lives return to the Reserve when tensors release them. A
// recorded graph (tensor/graph.h) needs this: replays write to the addresses of the recording, even if another tensor had that memory by then.
class Reserve {
 public:
  explicit Reserve(Device device);
  ~Reserve();                                     // unused blocks become free for all; used ones do when tensors release them
  Reserve(const Reserve&) = delete;
  Reserve& operator=(const Reserve&) = delete;

  class Use {                                     // for this thread's tensors on that device
   public:
    explicit Use(const Reserve& reserve);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    std::shared_ptr<struct ReservedBlocks> outer_;
  };

 private:
  std::shared_ptr<struct ReservedBlocks> blocks_;
};

// Returns an uninitialized block of at least `bytes` bytes. It returns to the free list when the last owner releases it. On a GPU the compute
// stream executes the uses of a block in order, so it may be reused at once. The streams of copies and of collectives run beside the compute
// stream. Upload and the communicator's Operation hold the memory that those streams use until the compute stream has waited for them. Throws
// Error if the device has no such block; the statistics then stay unchanged.
std::shared_ptr<std::byte> allocate(std::size_t bytes, Device device = {});

}  // namespace fm
