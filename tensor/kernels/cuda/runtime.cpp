#include "tensor/kernels/cuda/runtime.h"

#include <map>
#include <memory>
#include <mutex>

#include "tensor/error.h"
#include "tensor/kernels/cuda/gpu.h"

namespace fm::cuda {
namespace {

thread_local int current = -1;

Gpu& gpu_of(int device) {
  static std::mutex mutex;
  static auto* gpus = new std::map<int, Gpu*>;
  const std::lock_guard lock(mutex);
  Gpu*& gpu = (*gpus)[device];
  if (!gpu) {
    gpu = new Gpu;
    check(cudaStreamCreateWithFlags(&gpu->stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    check(cudaStreamCreateWithFlags(&gpu->copies, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    // The process keeps freed memory, as the allocator (tensor/memory) keeps its blocks anyway.
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

}  // namespace

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // clears the error, so that a later launch does not report it
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

Gpu& here() { return gpu_of(current_device()); }

Counts counts() {
  const Gpu& gpu = here();
  return {gpu.waits, gpu.allocations};
}

void refuse_recording(const Gpu& gpu, const char* what) {
  if (gpu.recording)
    throw Error(std::string("a recording of GPU work (tensor/graph.h) asks for ") + what +
                ", which a replay would not repeat: move it out of the recording");
}

void throw_index_error(unsigned long long word) {
  const unsigned long long index = word >> 32, limit = (word & 0xffffffffull) - 1;
  throw ShapeError("on cuda:" + std::to_string(current) + ": index " + (index == 0xffffffffull ? "below 0 or beyond 2^32" : std::to_string(index)) +
                   " is not in [0, " + std::to_string(limit) + ")");
}

void synchronise() {
  Gpu& gpu = here();
  refuse_recording(gpu, "a wait");
  check(cudaMemcpyAsync(gpu.error_seen, gpu.error, sizeof *gpu.error, cudaMemcpyDeviceToHost, gpu.stream), "cudaMemcpyAsync");
  ++gpu.waits;
  check(cudaStreamSynchronize(gpu.stream), "cudaStreamSynchronize");
  const unsigned long long word = *gpu.error_seen;
  if (word == 0) return;
  check(cudaMemsetAsync(gpu.error, 0, sizeof *gpu.error, gpu.stream), "cudaMemsetAsync");
  throw_index_error(word);
}

// While work is recorded, the compute stream cannot allocate. So memory comes from the copy stream, and end_recording() orders the two streams.
void* take_memory(std::size_t bytes) {
  Gpu& gpu = here();
  void* p = nullptr;
  ++gpu.allocations;
  gpu.borrowed = gpu.borrowed || gpu.recording;
  const cudaError_t status = cudaMallocAsync(&p, bytes, gpu.recording ? gpu.copies : gpu.stream);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check(status, "cudaMallocAsync");
  return p;
}

void give_back_memory(void* p) {
  refuse_recording(here(), "memory that is available only after other memory is freed");
  check(cudaFreeAsync(p, current_stream()), "cudaFreeAsync");
}

void zero_memory(void* p, std::size_t bytes) {
  if (bytes) check(cudaMemsetAsync(p, 0, bytes, current_stream()), "cudaMemsetAsync");
}

}  // namespace fm::cuda
