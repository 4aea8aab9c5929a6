// Memory of tensors, by device: size-class free lists over blocks of the system (64-byte aligned, huge pages for large ones) or of the GPU.
//
// Page faults cost more than arithmetic on virtual machines (docs/decisions.md), so a freed block is kept and handed out again: a training
// step in its steady state asks the system for nothing. Kept blocks go back to the system when release_cached_memory() is called (between two
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
  std::size_t most = 0;      // the most that live + cached has been since reset_memory_peak(): what the system had to give
};

MemoryStats memory_stats(Device device = default_device());
void reset_memory_peak(Device device = default_device());

// Gives the kept blocks of the device back, and on the CPU the calling thread's scratch buffers of kernels (kernels/cpu/scratch.h). Blocks of a
// Reserve stay. Returns the bytes.
std::size_t release_cached_memory(Device device = default_device());
std::size_t release_cached_blocks(Device device);      // the kept blocks alone: for kernels, which are using the scratch buffers

// Bytes of CPU memory that this process can have: the machine's, less where a control group or `ulimit -v` says so.
std::size_t memory_limit();

std::map<std::string, std::size_t> memory_by_op(Device device = default_device());   // live bytes by the name of the operation that allocated them

// Names the operation that allocations of this thread, and its time (profile.h), are counted under, for the life of the object. `name` must outlive the program's
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

// Memory of a GPU that nobody else gets while this lives: blocks that a thread is given inside of a Use come back to it when tensors let go of
// them. A recorded graph (tensor/graph.h) writes to what it wrote to before, whoever might have that memory by then.
class Reserve {
 public:
  explicit Reserve(Device device);
  ~Reserve();                                     // what tensors no longer hold is everybody's again; the rest will be
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

// A block of at least `bytes` bytes (uninitialised); goes back to the free list when the last owner leaves: on a GPU whatever the compute
// stream does with it next runs after what used it last. The streams of copies and of collectives are beside that one: what they use is held by
// Upload and by the communicator's Operation until the compute stream is behind it. Throws Error where the device has no such block; the statistics then are what they were.
std::shared_ptr<std::byte> allocate(std::size_t bytes, Device device = {});

}  // namespace fm
