// Memory of tensors, by device: size-class free lists over blocks of the system (64-byte aligned, huge pages for large ones) or of the GPU.
//
// Page faults cost more than arithmetic on virtual machines (docs/decisions.md), so a freed block is kept and reused: a training
// step in its steady state requests no memory from the system. Kept blocks go back to the system when release_cached_memory() is called (between two
// stages, whose tensors have other sizes), when the system has no more memory, and before tensors and kept blocks together would exceed the
// memory of the machine. Statistics count the bytes that tensors hold, also by the operation that made them.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>

#include "tensor/device.h"

namespace fm {

struct MemoryStats {
  std::size_t live = 0;      // bytes held by tensors now
  std::size_t peak = 0;      // the most that live has been since reset_memory_peak()
  std::size_t cached = 0;    // bytes kept for reuse
  std::size_t most = 0;      // the maximum of live + cached since reset_memory_peak(): the memory requested from the system
};

MemoryStats memory_stats(Device device = default_device());
void reset_memory_peak(Device device = default_device());

// Gives the kept blocks of the device back, and on the CPU the calling thread's scratch buffers of kernels (kernels/cpu/scratch.h). Blocks of a
// Reserve stay. Returns the bytes.
std::size_t release_cached_memory(Device device = default_device());
std::size_t release_cached_blocks(Device device);      // the kept blocks alone: for kernels, which are using the scratch buffers

// Bytes of CPU memory available to this process: the machine's, or less if a control group or `ulimit -v` limits it.
std::size_t memory_limit();

std::map<std::string, std::size_t> memory_by_op(Device device = default_device());   // live bytes by the name of the operation that allocated them

// Names the operation under which this thread's allocations and time (profile.h) are counted while the object lives. `name` must outlive the program's
// tensors: a string literal.
class OpName {
 public:
  explicit OpName(const char* name);
  ~OpName();
  OpName(const OpName&) = delete;
  OpName& operator=(const OpName&) = delete;

 private:
  const char* outer_;
};

// Memory of a GPU reserved for one owner: blocks that a thread receives inside a Use return to it when tensors release
// them. A recorded graph (tensor/graph.h) writes to the addresses of its recording, even if another tensor had that memory by then.
class Reserve {
 public:
  explicit Reserve(Device device);
  ~Reserve();                                     // memory that no tensor holds is free for all; the rest follows when it is released
  Reserve(const Reserve&) = delete;
  Reserve& operator=(const Reserve&) = delete;

  class Use {                                     // of this thread, on that device
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

// A block of at least `bytes` bytes (uninitialized). It returns to the free list when the last owner releases it. On a GPU the compute
// stream's next use of it runs after its last one. The streams of copies and of collectives run beside the compute stream: Upload and the communicator's Operation
// hold the memory in use by them until the compute stream is behind it. Throws Error if the device has no such block; the statistics then stay unchanged.
std::shared_ptr<std::byte> allocate(std::size_t bytes, Device device = {});

}  // namespace fm
