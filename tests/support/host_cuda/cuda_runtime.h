// The part of the CUDA runtime that the engine uses, for tests on a machine without a GPU: .cu files compiled as C++ against this header run on
// the CPU. README.md of this folder explains it, and its limits. No NVIDIA header is read.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static                     // one for all blocks, which run one after another
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

// ---- interface of kernels -----------------------------------------------------------------------------------------------------------------

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};

namespace host_cuda {

// The thread of the grid that runs now. Device code runs on one thread of the host at a time.
struct Place {
  uint3 thread, block;
  dim3 block_size, grid_size;
};
extern Place place;

void sync_threads();
void sync_warp(unsigned mask);
// Returns the 8 bytes of lane `from` of the warp. All lanes of the mask must call it.
std::uint64_t exchange(unsigned mask, std::uint64_t value, int from);
int own_lane();
void* shared_memory(std::size_t alignment);
void note_atomic(const void* p, std::size_t bytes);

template <class T> T shuffle(unsigned mask, T value, int from) {
  static_assert(sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = exchange(mask, bits, from);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace host_cuda

#define threadIdx (host_cuda::place.thread)
#define blockIdx (host_cuda::place.block)
#define blockDim (host_cuda::place.block_size)
#define gridDim (host_cuda::place.grid_size)
constexpr int warpSize = 32;

inline void __syncthreads() { host_cuda::sync_threads(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { host_cuda::sync_warp(mask); }
template <class T> T __shfl_sync(unsigned mask, T value, int lane) { return host_cuda::shuffle(mask, value, lane & 31); }
template <class T> T __shfl_xor_sync(unsigned mask, T value, int distance) { return host_cuda::shuffle(mask, value, host_cuda::own_lane() ^ distance); }
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned distance) {
  const int from = host_cuda::own_lane() + static_cast<int>(distance);
  return host_cuda::shuffle(mask, value, from < 32 ? from : host_cuda::own_lane());
}

// These operations are atomic because no other thread runs at the same time. They call the race checker (races.cpp) themselves; the compiler adds no call
// at their accesses.
template <class T> __attribute__((no_sanitize("thread"))) T atomicAdd(T* address, T value) {
  host_cuda::note_atomic(address, sizeof(T));
  const T before = *address;
  *address = before + value;
  return before;
}
template <class T> __attribute__((no_sanitize("thread"))) T atomicExch(T* address, T value) {
  host_cuda::note_atomic(address, sizeof(T));
  const T before = *address;
  *address = value;
  return before;
}

// ---- interface of the host ----------------------------------------------------------------------------------------------------------------

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchFailure = 719,
};
const char* cudaGetErrorName(cudaError_t status);
const char* cudaGetErrorString(cudaError_t status);        // the report of a failed launch or copy, if there is one
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();

struct cudaUUID_t {
  char bytes[16];
};
struct cudaDeviceProp {
  char name[256];
  cudaUUID_t uuid;
  std::size_t totalGlobalMem, sharedMemPerBlockOptin;
  int multiProcessorCount, major, minor;
};
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total);
cudaError_t cudaDeviceSynchronize();

using cudaStream_t = struct host_cuda_stream*;
using cudaEvent_t = struct host_cuda_event*;
using cudaGraph_t = struct host_cuda_graph*;
using cudaGraphExec_t = struct host_cuda_graph_exec*;
using cudaMemPool_t = struct host_cuda_pool*;

enum { cudaStreamDefault = 0, cudaStreamNonBlocking = 1 };
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);

enum { cudaEventDefault = 0, cudaEventDisableTiming = 2 };
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to);
cudaError_t cudaEventDestroy(cudaEvent_t event);

enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal, cudaStreamCaptureModeRelaxed };
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);

enum cudaMemPoolAttr { cudaMemPoolAttrReleaseThreshold, cudaMemPoolAttrUsedMemCurrent, cudaMemPoolAttrUsedMemHigh, cudaMemPoolAttrReservedMemCurrent };
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);

enum cudaMemcpyKind { cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice, cudaMemcpyDefault };
cudaError_t cudaMallocAsync(void** p, std::size_t bytes, cudaStream_t stream);
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream);
cudaError_t cudaMallocHost(void** p, std::size_t bytes);
cudaError_t cudaFreeHost(void* p);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream);

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value);
template <class F> cudaError_t cudaFuncSetAttribute(F* function, cudaFuncAttribute attribute, int value) {
  return cudaFuncSetAttribute(reinterpret_cast<const void*>(function), attribute, value);
}

namespace host_cuda {

// Puts a launch at the end of the stream. `thread` is the kernel with its arguments, for one thread of the grid. Reports name `kernel`.
cudaError_t launch(cudaStream_t stream, dim3 grid, dim3 block, std::size_t shared_bytes, std::function<void()> thread, const void* kernel = nullptr);

// Puts any work on device memory at the end of the stream (the stand-ins of cuBLAS and NCCL).
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);
// Puts work at the end of the stream that blocks the stream until ready() returns true; ready() is polled. lost(report) is called if other work
// of the GPU fails and this work is dropped with it.
using Lost = std::function<void(const std::string& report)>;
cudaError_t enqueue_when(cudaStream_t stream, std::function<bool()> ready, std::function<void()> work, Lost lost);
// Runs all streams of this process until done(), or until work of `device` fails. The failure is reported to the threads that wait for this device.
void run_until(int device, const std::function<bool()>& done);

// Whether [p, p + bytes) is inside one live allocation of the current device.
bool is_allocated(const void* p, std::size_t bytes);

}  // namespace host_cuda
