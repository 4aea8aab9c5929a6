// Calls of the executor and the memory to the race checker (races.cpp) of a program that links it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda_runtime.h"

namespace host_cuda {

class Watcher {
 public:
  virtual void arena(const void* base) = 0;                  // a device's memory begins here
  virtual void taken(const void* p, std::size_t bytes) = 0;  // an allocation begins and ends its life
  virtual void given(const void* p, std::size_t bytes) = 0;
  virtual void launch_begins(const void* shared, std::size_t bytes) = 0;
  virtual void block_begins() = 0;                     // `place.block`
  virtual void thread_runs(std::uint32_t thread) = 0;  // from now on
  virtual void thread_rests() = 0;
  virtual void barrier() = 0;                                                  // all threads of the block met
  virtual void warp_meets(std::uint32_t first, unsigned lanes, bool all) = 0;  // of the warp that begins with thread `first`
  virtual void atomic(const void* p, std::size_t bytes) = 0;                   // by the running thread

 protected:
  ~Watcher() = default;
};
extern Watcher* watcher;  // null where no checker is linked

}  // namespace host_cuda
