// The functions of the race checker (races.cpp) that the executor and the memory call in a program that links it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda_runtime.h"

namespace host_cuda {

class Watcher {
 public:
  virtual void arena(const void* base) = 0;                  // the beginning of a device's memory
  virtual void taken(const void* p, std::size_t bytes) = 0;  // an allocation is made, or (given) freed
  virtual void given(const void* p, std::size_t bytes) = 0;
  virtual void launch_begins(const void* shared, std::size_t bytes) = 0;
  virtual void block_begins() = 0;                     // the block is `place.block`
  virtual void thread_runs(std::uint32_t thread) = 0;  // this thread runs from now on
  virtual void thread_rests() = 0;
  virtual void barrier() = 0;                                                  // all threads of the block met
  virtual void warp_meets(std::uint32_t first, unsigned lanes, bool all) = 0;  // lanes of the warp that begins with thread `first`
  virtual void atomic(const void* p, std::size_t bytes) = 0;                   // an atomic access by the running thread

 protected:
  ~Watcher() = default;
};
extern Watcher* watcher;  // null if no checker is linked

}  // namespace host_cuda
