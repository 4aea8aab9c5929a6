#include "tensor/kernels/cuda/runtime.h"

#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "tensor/error.h"

namespace fm::cuda {
namespace {

constexpr std::size_t staging_bytes = std::size_t{4} << 20;  // of pinned memory a transfer goes through at a time
constexpr std::size_t staging_blocks = 4;

// Pinned memory on its way to the device; free again when its event has passed.
struct Staging {
  void* memory = nullptr;
  cudaEvent_t sent = nullptr;
};

struct Gpu {
  cudaStream_t stream = nullptr;
  unsigned long long* error = nullptr;          // device memory
  unsigned long long* error_seen = nullptr;     // pinned
  std::mutex transfers;
  std::deque<Staging> staging;                  // the oldest first
};

thread_local int current = -1;

Gpu& gpu_of(int device) {
  static std::mutex mutex;
  static auto* gpus = new std::map<int, Gpu*>;
  const std::lock_guard lock(mutex);
  Gpu*& gpu = (*gpus)[device];
  if (!gpu) {
    gpu = new Gpu;
    check(cudaStreamCreateWithFlags(&gpu->stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    // Freed memory stays with the process: the allocator (tensor/memory) keeps its blocks anyway.
    cudaMemPool_t pool = nullptr;
    check(cudaDeviceGetDefaultMemPool(&pool, device), "cudaDeviceGetDefaultMemPool");
    std::uint64_t threshold = UINT64_MAX;
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold), "cudaMemPoolSetAttribute");
    void* word = nullptr;
    check(cudaMallocAsync(&word, sizeof *gpu->error, gpu->stream), "cudaMallocAsync");
    check(cudaMemsetAsync(word, 0, sizeof *gpu->error, gpu->stream), "cudaMemsetAsync");
    gpu->error = static_cast<unsigned long long*>(word);
    void* seen = nullptr;
    check(cudaMallocHost(&seen, sizeof *gpu->error_seen), "cudaMallocHost");
    gpu->error_seen = static_cast<unsigned long long*>(seen);
  }
  return *gpu;
}

Gpu& here() { return gpu_of(current_device()); }

// A block of pinned memory that no transfer uses any more.
Staging next_staging(Gpu& gpu) {
  Staging s;
  if (gpu.staging.size() < staging_blocks) {
    check(cudaMallocHost(&s.memory, staging_bytes), "cudaMallocHost");
    check(cudaEventCreateWithFlags(&s.sent, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  } else {
    s = gpu.staging.front();
    gpu.staging.pop_front();
    check(cudaEventSynchronize(s.sent), "cudaEventSynchronize");
  }
  return s;
}

void wait_and_check(Gpu& gpu) {
  check(cudaMemcpyAsync(gpu.error_seen, gpu.error, sizeof *gpu.error, cudaMemcpyDeviceToHost, gpu.stream), "cudaMemcpyAsync");
  check(cudaStreamSynchronize(gpu.stream), "cudaStreamSynchronize");
  const unsigned long long word = *gpu.error_seen;
  if (word == 0) return;
  check(cudaMemsetAsync(gpu.error, 0, sizeof *gpu.error, gpu.stream), "cudaMemsetAsync");
  const unsigned long long index = word >> 32, limit = (word & 0xffffffffull) - 1;
  throw ShapeError("on cuda:" + std::to_string(current) + ": index " + (index == 0xffffffffull ? "below 0 or beyond 2^32" : std::to_string(index)) +
                   " is not in [0, " + std::to_string(limit) + ")");
}

}  // namespace

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // a launch after this one is not to blame for it
  throw DeviceError(std::string(call) + ": " + cudaGetErrorName(status) + ", " + cudaGetErrorString(status));
}

int device_count(std::string* why) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return count;
  cudaGetLastError();
  if (why) *why = status == cudaSuccess ? "this machine has no GPU" : std::string(cudaGetErrorName(status)) + ", " + cudaGetErrorString(status);
  return 0;
}

void use(int device) {
  if (device == current) return;
  check(cudaSetDevice(device), "cudaSetDevice");
  current = device;
}

int current_device() {
  if (current < 0) use(0);
  return current;
}

cudaStream_t current_stream() { return here().stream; }

unsigned long long* error_word() { return here().error; }

void synchronise() { wait_and_check(here()); }

void* take_memory(std::size_t bytes) {
  void* p = nullptr;
  const cudaError_t status = cudaMallocAsync(&p, bytes, current_stream());
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check(status, "cudaMallocAsync");
  return p;
}

void give_back_memory(void* p) { check(cudaFreeAsync(p, current_stream()), "cudaFreeAsync"); }

void zero_memory(void* p, std::size_t bytes) {
  if (bytes) check(cudaMemsetAsync(p, 0, bytes, current_stream()), "cudaMemsetAsync");
}

void upload(void* device, const void* host, std::size_t bytes) {
  Gpu& gpu = here();
  const std::lock_guard lock(gpu.transfers);
  for (std::size_t at = 0; at < bytes; at += staging_bytes) {
    const std::size_t n = bytes - at < staging_bytes ? bytes - at : staging_bytes;
    const Staging s = next_staging(gpu);
    std::memcpy(s.memory, static_cast<const char*>(host) + at, n);
    check(cudaMemcpyAsync(static_cast<char*>(device) + at, s.memory, n, cudaMemcpyHostToDevice, gpu.stream), "cudaMemcpyAsync");
    check(cudaEventRecord(s.sent, gpu.stream), "cudaEventRecord");
    gpu.staging.push_back(s);
  }
}

// One block's copy to pageable memory runs while the next is on its way.
void download(void* host, const void* device, std::size_t bytes) {
  Gpu& gpu = here();
  const std::lock_guard lock(gpu.transfers);
  std::deque<std::pair<Staging, std::size_t>> under_way;
  std::size_t asked = 0;
  for (std::size_t at = 0; at < bytes;) {
    while (asked < bytes && under_way.size() < 2) {
      const std::size_t n = bytes - asked < staging_bytes ? bytes - asked : staging_bytes;
      const Staging s = next_staging(gpu);
      check(cudaMemcpyAsync(s.memory, static_cast<const char*>(device) + asked, n, cudaMemcpyDeviceToHost, gpu.stream), "cudaMemcpyAsync");
      check(cudaEventRecord(s.sent, gpu.stream), "cudaEventRecord");
      under_way.emplace_back(s, n);
      asked += n;
    }
    const auto [s, n] = under_way.front();
    under_way.pop_front();
    check(cudaEventSynchronize(s.sent), "cudaEventSynchronize");
    std::memcpy(static_cast<char*>(host) + at, s.memory, n);
    gpu.staging.push_back(s);
    at += n;
  }
  wait_and_check(gpu);
}

}  // namespace fm::cuda
