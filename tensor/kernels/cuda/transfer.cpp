// Transfers on the compute stream, through a few pinned blocks, and on the copy stream, for prefetched batches.
#include <cstring>
#include <memory>
#include <vector>

#include "tensor/kernels/cuda/gpu.h"

namespace fm::cuda {
namespace {

std::size_t block_size(std::size_t bytes) {
  std::size_t size = PinnedPool::smallest;
  while (size < bytes) size *= 2;
  return size;
}

bool has_passed(cudaEvent_t event) {
  const cudaError_t status = cudaEventQuery(event);
  if (status == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  check(status, "cudaEventQuery");
  return true;
}

// Uploads through pinned memory, piece by piece, on `stream`.
void send(Gpu& gpu, PinnedPool& pool, cudaStream_t stream, void* device, const void* host, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += PinnedPool::largest) {
    const std::size_t n = bytes - at < PinnedPool::largest ? bytes - at : PinnedPool::largest;
    const Pinned p = pool.take(gpu, n);
    std::memcpy(p.memory, static_cast<const char*>(host) + at, n);
    check(cudaMemcpyAsync(static_cast<char*>(device) + at, p.memory, n, cudaMemcpyHostToDevice, stream), "cudaMemcpyAsync");
    check(cudaEventRecord(p.passed, stream), "cudaEventRecord");
    pool.give(p);
  }
}

}  // namespace

Pinned PinnedPool::take(Gpu& gpu, std::size_t bytes) {
  const std::size_t size = block_size(bytes);
  Blocks& b = blocks_[size];
  const bool full = b.made >= most_ && !b.waiting.empty();
  if (full || (!b.waiting.empty() && has_passed(b.waiting.front().passed))) {
    const Pinned p = b.waiting.front();
    b.waiting.pop_front();
    if (full && !has_passed(p.passed)) wait_for(gpu, p.passed);
    return p;
  }
  Pinned p{nullptr, size, nullptr};
  ++gpu.allocations;
  check(cudaMallocHost(&p.memory, size), "cudaMallocHost");
  check(cudaEventCreateWithFlags(&p.passed, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  b.made += size;
  return p;
}

cudaEvent_t take_event(Gpu& gpu) {
  cudaEvent_t event = nullptr;
  if (gpu.events.empty()) {
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  } else {
    event = gpu.events.front();
    gpu.events.pop_front();
  }
  return event;
}

void in_order(Gpu& gpu, cudaStream_t before, cudaStream_t after) {
  const cudaEvent_t event = take_event(gpu);
  check(cudaEventRecord(event, before), "cudaEventRecord");
  check(cudaStreamWaitEvent(after, event), "cudaStreamWaitEvent");
  gpu.events.push_back(event);                       // free for reuse: the wait keeps the state that the event has now
}

void wait_for(Gpu& gpu, cudaEvent_t event) {
  ++gpu.waits;
  check(cudaEventSynchronize(event), "cudaEventSynchronize");
}

void upload(void* device, const void* host, std::size_t bytes) {
  Gpu& gpu = here();
  refuse_recording(gpu, "an upload");
  const std::lock_guard lock(gpu.transfers);
  send(gpu, gpu.staging, gpu.stream, device, host, bytes);
}

// The host copies one block to pageable memory while the next block is transferred.
void download(void* host, const void* device, std::size_t bytes) {
  Gpu& gpu = here();
  refuse_recording(gpu, "a download");
  const std::lock_guard lock(gpu.transfers);
  std::deque<std::pair<Pinned, std::size_t>> under_way;
  std::size_t asked = 0;
  for (std::size_t at = 0; at < bytes;) {
    while (asked < bytes && under_way.size() < 2) {
      const std::size_t n = bytes - asked < PinnedPool::largest ? bytes - asked : PinnedPool::largest;
      const Pinned p = gpu.staging.take(gpu, n);
      check(cudaMemcpyAsync(p.memory, static_cast<const char*>(device) + asked, n, cudaMemcpyDeviceToHost, gpu.stream), "cudaMemcpyAsync");
      check(cudaEventRecord(p.passed, gpu.stream), "cudaEventRecord");
      under_way.emplace_back(p, n);
      asked += n;
    }
    const auto [p, n] = under_way.front();
    under_way.pop_front();
    check(cudaEventSynchronize(p.passed), "cudaEventSynchronize");
    std::memcpy(static_cast<char*>(host) + at, p.memory, n);
    gpu.staging.give(p);
    at += n;
  }
  synchronise();
}

// Downloads the error word together with the answer.
void* ask(const void* device, std::size_t bytes) {
  Gpu& gpu = here();
  refuse_recording(gpu, "a download");
  const std::lock_guard lock(gpu.transfers);
  auto p = std::make_unique<Pinned>(gpu.staging.take(gpu, bytes + sizeof *gpu.error));
  check(cudaMemcpyAsync(p->memory, device, bytes, cudaMemcpyDeviceToHost, gpu.stream), "cudaMemcpyAsync");
  check(cudaMemcpyAsync(static_cast<char*>(p->memory) + bytes, gpu.error, sizeof *gpu.error, cudaMemcpyDeviceToHost, gpu.stream), "cudaMemcpyAsync");
  check(cudaEventRecord(p->passed, gpu.stream), "cudaEventRecord");
  return p.release();
}

void receive(void* answer, void* host, std::size_t bytes) {
  Gpu& gpu = here();
  const std::unique_ptr<Pinned> p(static_cast<Pinned*>(answer));
  unsigned long long word = 0;
  if (host) {
    if (!has_passed(p->passed)) wait_for(gpu, p->passed);
    std::memcpy(host, p->memory, bytes);
    std::memcpy(&word, static_cast<const char*>(p->memory) + bytes, sizeof word);
  }
  {
    const std::lock_guard lock(gpu.transfers);
    gpu.staging.give(*p);
  }
  if (word) synchronise();                           // throws, and clears the word
}

void* begin_upload(void* device, const void* host, std::size_t bytes) {
  Gpu& gpu = here();
  refuse_recording(gpu, "an upload");
  const std::lock_guard lock(gpu.transfers);
  in_order(gpu, gpu.stream, gpu.copies);
  send(gpu, gpu.ahead, gpu.copies, device, host, bytes);
  const cudaEvent_t there = take_event(gpu);
  check(cudaEventRecord(there, gpu.copies), "cudaEventRecord");
  return there;
}

void arrive(void* upload) {
  Gpu& gpu = here();
  refuse_recording(gpu, "an upload");
  const std::lock_guard lock(gpu.transfers);
  const auto there = static_cast<cudaEvent_t>(upload);
  check(cudaStreamWaitEvent(gpu.stream, there), "cudaStreamWaitEvent");
  gpu.events.push_back(there);
}

}  // namespace fm::cuda
