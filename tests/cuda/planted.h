// For tests of tests/support/host_cuda itself: bugs planted in small kernels and in calls of the runtime, each beside a correct version.
#pragma once

#include <cuda_runtime.h>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/support/host_cuda/executor.h"
#include "tests/support/host_cuda/watch.h"

namespace fm::test {

inline bool races_are_checked() { return host_cuda::watcher != nullptr; }

inline void must(cudaError_t status) { REQUIRE_MESSAGE(status == cudaSuccess, std::string(cudaGetErrorString(status))); }

class Stream {
 public:
  Stream() { must(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }

  // Waits for the stream. Returns the error of this call, or "" if there is none.
  std::string wait() const {
    const cudaError_t status = cudaStreamSynchronize(stream_);
    cudaGetLastError();
    return status == cudaSuccess ? "" : cudaGetErrorString(status);
  }

  template <class... Parameters, class... Args>
  void start(dim3 grid, dim3 block, std::size_t shared, void (*kernel)(Parameters...), Args... args) const {
    must(host_cuda::launch(
        stream_, grid, block, shared, [=] { kernel(args...); }, reinterpret_cast<const void*>(kernel)));
  }
  template <class... Parameters, class... Args>
  std::string run(dim3 grid, dim3 block, std::size_t shared, void (*kernel)(Parameters...), Args... args) const {
    start(grid, block, shared, kernel, args...);
    return wait();
  }

 private:
  cudaStream_t stream_ = nullptr;
};

template <class T>
class Pinned {
 public:
  explicit Pinned(const std::vector<T>& values) : size_(values.size()) {
    void* p = nullptr;
    must(cudaMallocHost(&p, bytes()));
    data_ = static_cast<T*>(p);
    std::copy(values.begin(), values.end(), data_);
  }
  ~Pinned() { cudaFreeHost(data_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  T* data() const { return data_; }
  std::size_t bytes() const { return size_ * sizeof(T); }
  std::vector<T> values() const { return {data_, data_ + size_}; }

 private:
  std::size_t size_;
  T* data_ = nullptr;
};

// n elements of unwritten device memory, or a copy of `values`.
template <class T>
class Device {
 public:
  Device(const Stream& stream, std::size_t n) : stream_(stream), size_(n) {
    void* p = nullptr;
    must(cudaMallocAsync(&p, n * sizeof(T), stream));
    data_ = static_cast<T*>(p);
  }
  Device(const Stream& stream, const std::vector<T>& values) : Device(stream, values.size()) {
    const Pinned<T> host(values);
    must(cudaMemcpyAsync(data_, host.data(), host.bytes(), cudaMemcpyHostToDevice, stream));
    must(cudaStreamSynchronize(stream));
  }
  ~Device() {
    if (data_) cudaFreeAsync(data_, stream_), cudaStreamSynchronize(stream_);
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  T* data() const { return data_; }
  T* release() { return std::exchange(data_, nullptr); }
  std::vector<T> values() const {
    const Pinned<T> host{std::vector<T>(size_)};
    must(cudaMemcpyAsync(host.data(), data_, host.bytes(), cudaMemcpyDeviceToHost, stream_));
    must(cudaStreamSynchronize(stream_));
    return host.values();
  }

 private:
  const Stream& stream_;
  std::size_t size_;
  T* data_ = nullptr;
};

// Checks that the report contains all of `parts`.
inline void check_report(const std::string& report, const std::vector<std::string>& parts) {
  CAPTURE(report);
  for (const std::string& part : parts) {
    CAPTURE(part);
    CHECK(report.find(part) != std::string::npos);
  }
}

// Calls f(exact) under several orders of blocks and threads. `exact` is true in the one order in which a test knows the thread that is reported.
template <class F>
void each_schedule(const F& f) {
  for (const std::string schedule : {"descending", "random:1", "random:2", "ordered"}) {
    CAPTURE(schedule);
    host_cuda::Schedule::current().set(schedule);
    f(schedule == "ordered");
  }
}

// Runs f in a child process. Returns the text that f prints to stderr, and checks that f ends the process.
template <class F>
std::string last_words(const F& f) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    f();
    _exit(0);
  }
  close(ends[1]);
  std::string out;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) out.append(buffer, static_cast<std::size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(!(WIFEXITED(status) && WEXITSTATUS(status) == 0));
  return out;
}

}  // namespace fm::test
