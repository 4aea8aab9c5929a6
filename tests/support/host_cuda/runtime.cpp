// Streams as queues that run late: no work runs until a thread waits, and then streams take turns by the schedule. A program that forgot to enforce
// an order has a wrong result under some schedule.
//
// A waiting thread runs the streams of all GPUs, so it may run the work of another host thread. When work fails, only the streams of its GPU are
// emptied, and the report is kept for threads that wait for that GPU, whichever thread ran the work.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cuda_runtime.h"
#include "executor.h"
#include "memory.h"

struct host_cuda_event {
  std::uint64_t recorded = 0, completed = 0, lost = 0;     // generations; those above `completed`, up to `lost`, never complete
  std::string since;                                       // the report of the failure that lost them
  int device = 0;                                          // the device of the last record
  double ms = 0;
};

namespace {

struct Work {
  std::function<void()> run;
  bool computes = false;                                   // accesses device memory at the program's addresses, so access must be open
  host_cuda_event* waits_for = nullptr;                    // if set: runs when this event has reached `generation`
  std::uint64_t generation = 0;
  std::function<bool()> ready = {};                        // if set: runs when it returns true (other ranks' progress)
  host_cuda::Lost lost = {};                               // if set: called when the work is dropped
};

}  // namespace

struct host_cuda_graph {
  std::vector<Work> work;
};
struct host_cuda_graph_exec {
  std::vector<Work> work;
};
struct host_cuda_stream {
  int device = 0;
  std::deque<Work> queue;
  std::unique_ptr<host_cuda_graph> capture;
};

namespace {

using host_cuda::Report;

std::recursive_mutex mutex;
std::vector<cudaStream_t> streams;
std::map<const std::byte*, std::size_t> pinned;
const std::string never_recorded = "all streams wait for events that are never recorded";
thread_local cudaError_t last_error = cudaSuccess;
thread_local std::string last_report;
thread_local int current_device = 0;

// The last failure of each GPU's work. `number` counts failures over all GPUs together, from 1; 0: this GPU had none.
struct Failure {
  std::uint64_t number = 0;
  std::string report;
  bool thrown = true;                                        // the report was given to a waiting thread
};
std::map<int, Failure> failures;
std::uint64_t failure_count = 0;

cudaError_t failed(cudaError_t status, const std::string& report = "") {
  if (!report.empty()) last_report = report;
  return last_error = status;
}

void throw_away(const Work& w, const std::string& report) {
  if (w.lost) w.lost(report);
}

// Work that a GPU gets between its failure and the report is dropped too. Otherwise half of a sequence would run.
void put(cudaStream_t s, Work w) {
  const Failure& failure = failures[s->device];
  if (s->capture) s->capture->work.push_back(std::move(w));
  else if (!failure.thrown) throw_away(w, failure.report);
  else s->queue.push_back(std::move(w));
}

void fail_device(int device, const std::string& report) {
  Failure& failure = failures[device];
  failure.number = ++failure_count;
  if (failure.thrown) failure.report = report;
  failure.thrown = false;
  for (cudaStream_t s : streams)
    if (s->device == device)
      for (const Work& w : std::exchange(s->queue, {})) throw_away(w, report);
}

bool runnable(cudaStream_t s) {
  if (s->queue.empty()) return false;
  const Work& w = s->queue.front();
  try {
    return w.ready ? w.ready() : !w.waits_for || std::max(w.waits_for->completed, w.waits_for->lost) >= w.generation;
  } catch (const std::exception& e) {
    fail_device(s->device, e.what());
    return false;
  }
}

// The number of pieces of work that could write anywhere: kernels, cuBLAS, NCCL. Copies are checked before they run.
std::uint64_t writers = 0;
std::map<int, std::uint64_t> writers_checked;              // by device: the number at the last check of its red zones

// Opens `access` at the first kernel and keeps it, because opening and closing cost system calls.
void run_next(cudaStream_t s, std::optional<host_cuda::DeviceAccess>& access) {
  const Work w = std::move(s->queue.front());
  s->queue.pop_front();
  const int before = std::exchange(current_device, s->device);
  try {
    if (w.waits_for && w.waits_for->completed < w.generation) throw Report(never_recorded + ", since: " + w.waits_for->since);
    if (w.computes && !access) access.emplace();
    if (w.computes || w.ready) ++writers;
    if (w.run) w.run();
  } catch (const std::exception& e) {
    fail_device(s->device, e.what());
  }
  current_device = before;
}

// Runs streams until done() holds, and returns true. Returns false when work of `device` fails, or if an earlier failure was not reported yet.
template <class Done> bool run_streams(int device, const Done& done) {
  const Failure& failure = failures[device];
  const std::uint64_t before = failure.number;
  const auto fails = [&] { return !failure.thrown || failure.number != before; };  // another thread may have got the report meanwhile
  std::optional<host_cuda::DeviceAccess> access;
  while (!fails() && !done()) {
    const std::uint64_t count = failure_count;
    std::vector<cudaStream_t> ready;
    for (cudaStream_t s : streams)
      if (runnable(s)) ready.push_back(s);
    if (failure_count != count) continue;                  // streams were emptied
    if (!ready.empty()) {
      run_next(ready[host_cuda::Schedule::current().pick(ready.size())], access);
      continue;
    }
    const auto elsewhere = [](cudaStream_t s) { return !s->queue.empty() && s->queue.front().ready; };
    if (std::none_of(streams.begin(), streams.end(), elsewhere)) {
      fail_device(device, never_recorded);
      continue;
    }
    access.reset();
    mutex.unlock();                                        // other threads of this process may have work to add
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    mutex.lock();
  }
  try {
    if (!fails() && std::exchange(writers_checked[device], writers) != writers) host_cuda::check_red_zones(device);
  } catch (const std::exception& e) {
    fail_device(device, e.what());
  }
  return !fails();
}

// Runs streams for a host thread that waits for `device`. Returns a failure as an error and marks it as reported.
template <class Done> cudaError_t wait(int device, const Done& done) {
  if (run_streams(device, done)) return cudaSuccess;
  failures[device].thrown = true;
  return failed(cudaErrorLaunchFailure, failures[device].report);
}

bool is_pinned(const void* p, std::size_t bytes) {
  const auto* at = static_cast<const std::byte*>(p);
  auto it = pinned.upper_bound(at);
  if (it == pinned.begin()) return false;
  it = std::prev(it);
  return at + bytes <= it->first + it->second;
}

// Throws Report if the two sides of a copy are not the memory that `kind` names, or if the host's side is not pinned.
void check_copy(const void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, int device) {
  const auto on_device = [&](const void* p, const char* side) {
    if (host_cuda::device_of(p) < 0) throw Report(std::string("cudaMemcpyAsync: the ") + side + " is not device memory");
    if (host_cuda::device_of(p) != device) throw Report(std::string("cudaMemcpyAsync: the ") + side + " is memory of another device");
    if (!host_cuda::inside_block(device, p, bytes)) throw Report(std::string("cudaMemcpyAsync: the ") + side + " leaves its allocation, or its memory was freed");
  };
  const auto on_host = [&](const void* p, const char* side) {
    if (host_cuda::device_of(p) >= 0) throw Report(std::string("cudaMemcpyAsync: the ") + side + " is device memory");
    if (!is_pinned(p, bytes)) throw Report(std::string("cudaMemcpyAsync: the ") + side + " is not pinned (cudaMallocHost): the copy would not be asynchronous");
  };
  if (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) on_device(to, "target");
  else on_host(to, "target");
  if (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice) on_device(from, "source");
  else on_host(from, "source");
}

template <class F> cudaError_t guarded(const F& f) {
  const std::lock_guard lock(mutex);
  try {
    f();
    return cudaSuccess;
  } catch (const std::exception& e) {
    return failed(cudaErrorInvalidValue, e.what());
  }
}

// FLOWMAP_HOST_CUDA_BLOCKS=2 limits grids to 2 blocks in each direction, so that kernels loop over the part beyond the grid.
unsigned allowed_blocks(unsigned wanted) {
  static const char* const text = std::getenv("FLOWMAP_HOST_CUDA_BLOCKS");
  static const unsigned most = text ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : 0;
  return most == 0 ? wanted : std::min(wanted, most);
}

double now_ms() { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

namespace host_cuda {

cudaError_t launch(cudaStream_t stream, dim3 grid, dim3 block, std::size_t shared_bytes, std::function<void()> thread, const void* kernel) {
  return guarded([&] {
    if (!stream) throw Report("a launch without a stream: host_cuda has no default stream");
    const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
    if (threads == 0 || threads > 1024 || block.z > 64)
      throw Report("a launch of blocks of " + std::to_string(threads) + " threads; 1 to 1024 are possible, at most 64 of them in z");
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535)
      throw Report("a grid has 1 to 2147483647 x 65535 x 65535 blocks; refused: a launch of a grid of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " + std::to_string(grid.z));
    if (shared_bytes > 99u << 10) throw Report("a launch with " + std::to_string(shared_bytes) + " bytes of shared memory; at most 101376 are possible");
    const dim3 blocks(allowed_blocks(grid.x), allowed_blocks(grid.y), allowed_blocks(grid.z));
    put(stream, {[=, thread = std::move(thread)] {
      run_grid(blocks, block, shared_bytes, thread, kernel);
    }, true});
  });
}

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  return guarded([&] { put(stream, {std::move(work), true}); });
}

cudaError_t enqueue_when(cudaStream_t stream, std::function<bool()> ready, std::function<void()> work, Lost lost) {
  return guarded([&] {
    Work w{std::move(work)};
    w.ready = std::move(ready);
    w.lost = std::move(lost);
    put(stream, std::move(w));
  });
}

void run_until(int device, const std::function<bool()>& done) {
  const std::lock_guard lock(mutex);
  run_streams(device, done);
}

bool is_allocated(const void* p, std::size_t bytes) {
  const std::lock_guard lock(mutex);
  return inside_block(current_device, p, bytes);
}

}  // namespace host_cuda

const char* cudaGetErrorName(cudaError_t status) {
  switch (status) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorNotReady: return "cudaErrorNotReady";
    default: return "cudaErrorLaunchFailure";
  }
}
const char* cudaGetErrorString(cudaError_t status) { return status == cudaSuccess ? "no error" : last_report.c_str(); }
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = host_cuda::device_count();
  return *count ? cudaSuccess : failed(cudaErrorNoDevice, "no CUDA-capable device is detected");
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= host_cuda::device_count()) return failed(cudaErrorInvalidDevice, "invalid device ordinal");
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  *p = {};
  p->uuid.bytes[0] = static_cast<char>(device + 1);
  std::strcpy(p->name, "the CPU behind CUDA's calls");
  p->totalGlobalMem = host_cuda::device_bytes;
  p->sharedMemPerBlockOptin = 99u << 10;
  p->multiProcessorCount = 4;
  p->major = 8;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) { return *version = 12040, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 12040, cudaSuccess; }
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = host_cuda::device_bytes;
  *free = *total - host_cuda::used_bytes(current_device);
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  const std::lock_guard lock(mutex);
  return wait(current_device, [] {
    return std::none_of(streams.begin(), streams.end(), [](cudaStream_t s) { return s->device == current_device && !s->queue.empty(); });
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const std::lock_guard lock(mutex);
  *stream = new host_cuda_stream{current_device, {}, nullptr};
  streams.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  if (stream->capture) return failed(cudaErrorInvalidValue, "cudaStreamSynchronize while the stream is being captured");
  return wait(stream->device, [&] { return stream->queue.empty(); });
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  const cudaError_t status = wait(stream->device, [&] { return stream->queue.empty(); });
  std::erase(streams, stream);
  delete stream;
  return status;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  if (const Failure& failure = failures[stream->device]; !failure.thrown) return failed(cudaErrorLaunchFailure, failure.report);
  return stream->queue.empty() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return guarded([&] { put(stream, {nullptr, false, event, event->recorded}); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return *event = new host_cuda_event, cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return guarded([&] {
    const std::uint64_t generation = ++event->recorded;
    event->device = stream->device;
    Work w{[event, generation] {
      event->completed = std::max(event->completed, generation);
      event->ms = now_ms();
    }};
    w.lost = [event, generation](const std::string& report) {
      event->lost = std::max(event->lost, generation);
      event->since = report;
    };
    put(stream, std::move(w));
  });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::lock_guard lock(mutex);
  const cudaError_t status = wait(event->device, [&] { return std::max(event->completed, event->lost) >= event->recorded; });
  if (status != cudaSuccess || event->completed >= event->recorded) return status;
  return failed(cudaErrorLaunchFailure, never_recorded + ", since: " + event->since);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::lock_guard lock(mutex);
  return event->completed >= event->recorded ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to) {
  *ms = static_cast<float>(to->ms - from->ms);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  return guarded([&] {
    if (stream->capture) throw Report("cudaStreamBeginCapture: the stream is being captured already");
    stream->capture = std::make_unique<host_cuda_graph>();
  });
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return guarded([&] {
    if (!stream->capture) throw Report("cudaStreamEndCapture: nothing is being captured");
    *graph = stream->capture.release();
  });
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  return *exec = new host_cuda_graph_exec{graph->work}, cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return guarded([&] {
    for (const Work& w : exec->work) put(stream, w);
  });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return delete exec, cudaSuccess; }

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  return *pool = reinterpret_cast<cudaMemPool_t>(static_cast<std::uintptr_t>(device + 1)), cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr, void* value) {
  const std::uint64_t used = host_cuda::used_bytes(static_cast<int>(reinterpret_cast<std::uintptr_t>(pool)) - 1);
  std::memcpy(value, &used, sizeof used);
  return cudaSuccess;
}

cudaError_t cudaMallocAsync(void** p, std::size_t bytes, cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  try {
    *p = host_cuda::take_block(stream->device, bytes);
  } catch (const std::exception& e) {
    return failed(cudaErrorInvalidValue, e.what());
  }
  return *p ? cudaSuccess : failed(cudaErrorMemoryAllocation, "out of memory");
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  return guarded([&] { put(stream, {[p, device = stream->device] { host_cuda::give_block(device, p); }}); });
}
cudaError_t cudaMallocHost(void** p, std::size_t bytes) {
  const std::lock_guard lock(mutex);
  *p = ::operator new(bytes);
  pinned[static_cast<std::byte*>(*p)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* p) {
  return guarded([&] {
    if (!pinned.erase(static_cast<std::byte*>(p))) throw Report("cudaFreeHost: not memory of cudaMallocHost");
    ::operator delete(p);
  });
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return guarded([&] {
    check_copy(to, from, bytes, kind, stream->device);
    put(stream, {[=] {
      check_copy(to, from, bytes, kind, current_device);
      std::memmove(host_cuda::open_address(to), host_cuda::open_address(const_cast<void*>(from)), bytes);
    }});
  });
}
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream) {
  return guarded([&] {
    put(stream, {[=] {
      if (!host_cuda::inside_block(current_device, p, bytes)) throw Report("cudaMemsetAsync: the range leaves its allocation, or its memory was freed");
      std::memset(host_cuda::open_address(p), value, bytes);
    }});
  });
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
