// The state of each GPU. Only runtime.cpp, transfer.cpp and graph.cpp use it.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <mutex>

#include "tensor/kernels/cuda/runtime.h"

namespace fm::cuda {

struct Gpu;

// Pinned memory of a transfer. It is free again when its event has occurred.
struct Pinned {
  void* memory = nullptr;
  std::size_t bytes = 0;
  cudaEvent_t passed = nullptr;
};

// Blocks of pinned memory, whose sizes are powers of two. If all blocks of a size are in use, take() makes a new one, up to `most` bytes of each
// size; beyond that it waits for the oldest.
class PinnedPool {
 public:
  static constexpr std::size_t smallest = std::size_t{4} << 10, largest = std::size_t{4} << 20;

  explicit PinnedPool(std::size_t most) : most_(most) {}
  Pinned take(Gpu& gpu, std::size_t bytes);          // at most `largest`
  void give(const Pinned& p) { blocks_[p.bytes].waiting.push_back(p); }

 private:
  struct Blocks {
    std::deque<Pinned> waiting;                      // the oldest first
    std::size_t made = 0;
  };
  std::map<std::size_t, Blocks> blocks_;
  std::size_t most_;
};

struct Gpu {
  cudaStream_t stream = nullptr, copies = nullptr;   // stream: computes. copies: uploads at the same time
  unsigned long long* error = nullptr;               // device memory
  unsigned long long* error_seen = nullptr;          // pinned
  std::mutex transfers;
  PinnedPool staging{std::size_t{16} << 20};         // for transfers on the compute stream
  PinnedPool ahead{std::size_t{1} << 30};            // for uploads on the copy stream: about two batches in each size of blocks
  std::deque<cudaEvent_t> events;                    // events free for reuse
  bool recording = false, borrowed = false;          // recording: a graph is being recorded. borrowed: the recording got memory from `copies`
  std::atomic<std::int64_t> waits{0}, allocations{0};
};

Gpu& here();                                         // the state of current_device()

cudaEvent_t take_event(Gpu& gpu);
void in_order(Gpu& gpu, cudaStream_t before, cudaStream_t after);   // `after` continues when `before` has done all work requested so far
void wait_for(Gpu& gpu, cudaEvent_t event);          // waits, and counts the wait
void refuse_recording(const Gpu& gpu, const char* what);
void throw_index_error(unsigned long long word);     // throws the error that error_word() describes

}  // namespace fm::cuda
