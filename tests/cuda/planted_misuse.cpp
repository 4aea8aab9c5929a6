// Misuse of the runtime and of cuBLAS, planted: forgotten waits and events, copies of the wrong memory, operands of the wrong size. A fault
// that occurs only in some orders of the streams must be found under some schedule.
#include <cublas_v2.h>

#include <cstring>

#include "tests/cuda/planted.h"

using namespace fm::test;

namespace {

constexpr unsigned n = 64;

__global__ void add_one(float* x) { x[threadIdx.x] += 1; }

class Event {
 public:
  Event() { must(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

// Copies 5 on one stream and adds 1 on another. Returns 6 if the second stream waits for the first.
float copy_then_add(bool right) {
  const Stream copies, compute;
  const Pinned<float> host(std::vector<float>(n, 5.0f));
  const Device<float> x(compute, std::vector<float>(n, 0.0f));
  const Event copied;
  must(cudaMemcpyAsync(x.data(), host.data(), host.bytes(), cudaMemcpyHostToDevice, copies));
  must(cudaEventRecord(copied, copies));
  if (right) must(cudaStreamWaitEvent(compute, copied));
  compute.start(1, n, 0, add_one, x.data());
  CHECK(compute.wait() == "");
  CHECK(copies.wait() == "");
  return x.values()[n - 1];
}

std::string last_error() {
  cudaGetLastError();
  return cudaGetErrorString(cudaErrorInvalidValue);
}

// C (2 x 3) = A (2 x 4) B (4 x 3), column-major. A and B are ones.
struct Product {
  Stream stream;
  cublasHandle_t handle = nullptr;
  Device<float> a{stream, std::vector<float>(8, 1.0f)}, b{stream, std::vector<float>(12, 1.0f)}, c{stream, 6};
  Product() {
    cublasCreate(&handle);
    cublasSetStream(handle, stream);
  }
  ~Product() { cublasDestroy(handle); }

  cublasStatus_t start(int lda, int ldb, int ldc, int m = 2) const {
    const float one = 1, zero = 0;
    return cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, m, 3, 4, &one, a.data(), CUDA_R_32F, lda, b.data(), CUDA_R_32F, ldb, &zero,
                        c.data(), CUDA_R_32F, ldc, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
  }
};

}  // namespace

TEST_CASE("two streams without an event between them") {
  std::string found;
  for (int seed = 1; seed <= 8; ++seed) {
    const std::string schedule = "random:" + std::to_string(seed);
    host_cuda::Schedule::current().set(schedule);
    CAPTURE(schedule);
    CHECK(copy_then_add(true) == 6);
    host_cuda::Schedule::current().set(schedule);
    if (copy_then_add(false) != 6 && found.empty()) found = schedule;
  }
  MESSAGE("found with FLOWMAP_HOST_CUDA_SCHEDULE=" << found);
  CHECK(!found.empty());
  host_cuda::Schedule::current().set("ordered");
}

TEST_CASE("pinned memory that the host reads without waiting has its old values") {
  const Stream stream;
  const Device<float> x(stream, std::vector<float>(n, 2.0f));
  const Pinned<float> host(std::vector<float>(n, -1.0f));
  must(cudaMemcpyAsync(host.data(), x.data(), host.bytes(), cudaMemcpyDeviceToHost, stream));
  CHECK(host.values() == std::vector<float>(n, -1.0f));  // no data have arrived yet
  CHECK(stream.wait() == "");
  CHECK(host.values() == std::vector<float>(n, 2.0f));
}

TEST_CASE("pinned memory that is written again before its copy has run") {
  const Stream stream;
  const Device<float> x(stream, n);
  for (const bool right : {false, true}) {
    const Pinned<float> host(std::vector<float>(n, 1.0f));
    must(cudaMemcpyAsync(x.data(), host.data(), host.bytes(), cudaMemcpyHostToDevice, stream));
    if (right) CHECK(stream.wait() == "");
    host.data()[0] = 9;
    CHECK(stream.wait() == "");
    CHECK(x.values()[0] == (right ? 1 : 9));
  }
}

TEST_CASE("asynchronous copies of the wrong memory") {
  const Stream stream;
  const Device<float> x(stream, n), y(stream, 2 * n);
  std::vector<float> pageable(n, 1.0f);
  const Pinned<float> host(pageable);
  const auto refused = [&](void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, const char* why) {
    CHECK(cudaMemcpyAsync(to, from, bytes, kind, stream) == cudaErrorInvalidValue);
    check_report(last_error(), {"cudaMemcpyAsync: ", why});
  };
  refused(x.data(), pageable.data(), host.bytes(), cudaMemcpyHostToDevice,
          "the source is not pinned (cudaMallocHost): the copy would not be asynchronous");
  refused(pageable.data(), x.data(), host.bytes(), cudaMemcpyDeviceToHost, "the target is not pinned");
  refused(host.data(), host.data(), host.bytes(), cudaMemcpyHostToDevice, "the target is not device memory");
  refused(x.data(), y.data(), host.bytes(), cudaMemcpyHostToDevice, "the source is device memory");
  refused(x.data(), y.data(), 2 * host.bytes(), cudaMemcpyDeviceToDevice, "the target leaves its allocation, or its memory was freed");
  refused(host.data(), y.data(), 2 * host.bytes(), cudaMemcpyDeviceToHost, "the target is not pinned");
  must(cudaMemcpyAsync(x.data(), host.data(), host.bytes(), cudaMemcpyHostToDevice, stream));
  must(cudaMemcpyAsync(y.data(), x.data(), host.bytes(), cudaMemcpyDeviceToDevice, stream));
  CHECK(stream.wait() == "");
  CHECK(y.values()[n - 1] == 1);
}

TEST_CASE("a host read of device memory ends the program with an explanation") {
  const auto read = [](bool right) {
    return last_words([=] {
      must(cudaSetDevice(1));  // a device without memory so far: its first allocation installs a signal handler, which must replace doctest's
      const Stream stream;
      const Device<float> x(stream, std::vector<float>(n, 2.0f));
      _exit(static_cast<int>(right ? x.values()[0] : x.data()[0]));
    });
  };
  check_report(read(false), {"host_cuda: the host touched device memory: copy it with cudaMemcpyAsync"});
  CHECK(read(true) == "");
}

TEST_CASE("memory that is freed twice, or copied after it was freed") {
  const Stream stream;
  Device<float> x(stream, std::vector<float>(n, 1.0f));
  const Pinned<float> host(std::vector<float>(n, 0.0f));
  float* p = x.release();
  must(cudaMemcpyAsync(host.data(), p, host.bytes(), cudaMemcpyDeviceToHost, stream));
  must(cudaFreeAsync(p, stream));
  CHECK(stream.wait() == "");
  must(cudaFreeAsync(p, stream));
  check_report(stream.wait(), {"cudaFreeAsync: the address is not a live allocation of this device"});
  CHECK(cudaMemcpyAsync(host.data(), p, host.bytes(), cudaMemcpyDeviceToHost, stream) == cudaErrorInvalidValue);
  check_report(last_error(), {"the source leaves its allocation, or its memory was freed"});
  CHECK(host.values() == std::vector<float>(n, 1.0f));
}

// An event that is recorded during the capture of its stream occurs only when the captured graph is launched.
TEST_CASE("waiting for an event that is never recorded") {
  for (const bool right : {false, true}) {
    const Stream captured, waits;
    const Event event;
    const Device<float> x(waits, std::vector<float>(n, 1.0f));
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    must(cudaStreamBeginCapture(captured, cudaStreamCaptureModeThreadLocal));
    must(cudaEventRecord(event, captured));
    must(cudaStreamEndCapture(captured, &graph));
    must(cudaGraphInstantiate(&exec, graph));
    if (right) must(cudaGraphLaunch(exec, captured));
    must(cudaStreamWaitEvent(waits, event));
    const std::string report = waits.run(1, n, 0, add_one, x.data());
    CHECK(report == (right ? "" : "all streams wait for events that are never recorded"));
    CHECK(x.values()[0] == (right ? 2 : 1));
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
  }
}

TEST_CASE("cuBLAS with a wrong leading dimension") {
  const Product product;
  CHECK(product.start(1, 4, 2) == CUBLAS_STATUS_INVALID_VALUE);  // the leading dimension 1 is smaller than a column
  REQUIRE(product.start(4, 4, 2) == CUBLAS_STATUS_SUCCESS);      // the leading dimension of the transposed matrix
  check_report(product.stream.wait(), {"cuBLAS: matrix A of 2 x 4, leading dimension 4, leaves its allocation"});
  REQUIRE(product.start(2, 4, 2) == CUBLAS_STATUS_SUCCESS);
  CHECK(product.stream.wait() == "");
  CHECK(product.c.values() == std::vector<float>(6, 4.0f));
}

TEST_CASE("cuBLAS with operands beyond their allocations") {
  const Product product;
  REQUIRE(product.start(2, 5, 2) == CUBLAS_STATUS_SUCCESS);
  check_report(product.stream.wait(), {"cuBLAS: matrix B of 4 x 3, leading dimension 5, leaves its allocation"});
  REQUIRE(product.start(2, 4, 3) == CUBLAS_STATUS_SUCCESS);
  check_report(product.stream.wait(), {"cuBLAS: matrix C of 2 x 3, leading dimension 3, leaves its allocation"});
  REQUIRE(product.start(3, 4, 3, 3) == CUBLAS_STATUS_SUCCESS);
  check_report(product.stream.wait(), {"cuBLAS: matrix A of 3 x 4, leading dimension 3, leaves its allocation"});
}

TEST_CASE("launches with sizes that no GPU accepts") {
  const Stream stream;
  const auto refused = [&](dim3 grid, dim3 block, std::size_t shared, const char* why) {
    CHECK(host_cuda::launch(stream, grid, block, shared, [] {}) == cudaErrorInvalidValue);
    check_report(last_error(), {why});
  };
  refused(1, 1025, 0, "a launch of blocks of 1025 threads");
  refused(dim3(1, 65536), 1, 0, "a launch of a grid of 1 x 65536 x 1");
  refused(0, 1, 0, "a launch of a grid of 0 x 1 x 1");
  refused(1, 1, 100 << 10, "a launch with 102400 bytes of shared memory");
}

// Last in this file: earlier tests need an unused second GPU.
TEST_CASE("an error of one GPU, found while waiting for another GPU, is reported at a wait for the first") {
  each_schedule([](bool) {
    const Stream here;
    const Device<float> x(here, std::vector<float>(n, 1.0f));
    must(cudaSetDevice(1));
    const Event event;
    {
      const Stream there;
      Device<float> y(there, n);
      must(cudaFreeAsync(y.data(), there));
      must(cudaFreeAsync(y.release(), there));
      must(cudaEventRecord(event, there));
      CHECK(here.run(1, n, 0, add_one, x.data()) == "");
      CHECK(x.values()[0] == 2);
      check_report(there.wait(), {"cudaFreeAsync: the address is not a live allocation of this device"});
      CHECK(there.wait() == "");
    }
    CHECK(cudaEventSynchronize(event) == cudaErrorLaunchFailure);
    must(cudaSetDevice(0));
    must(cudaStreamWaitEvent(here, event));
    check_report(here.run(1, n, 0, add_one, x.data()),
                 {"all streams wait for events that are never recorded, since: cudaFreeAsync: the address is not a live"});
    CHECK(x.values()[0] == 2);
  });
}

// The calls are in an order that two host threads could have. The schedule prefers the second GPU's work, so a wait for the first GPU runs it.
TEST_CASE("work queued to a GPU after an error that is not yet reported does not run") {
  host_cuda::Schedule::current().set("descending");
  {
    const Stream here;
    const Device<float> x(here, std::vector<float>(n, 1.0f));
    must(cudaSetDevice(1));
    const Stream there;
    Device<float> y(there, std::vector<float>(n, 1.0f));
    float* freed = nullptr;
    must(cudaMallocAsync(reinterpret_cast<void**>(&freed), 4, there));
    must(cudaFreeAsync(freed, there));
    must(cudaFreeAsync(freed, there));
    CHECK(here.run(1, n, 0, add_one, x.data()) == "");
    there.start(1, n, 0, add_one, y.data());
    CHECK(cudaStreamQuery(there) == cudaErrorLaunchFailure);
    check_report(there.wait(), {"cudaFreeAsync: the address is not a live allocation of this device"});
    CHECK(y.values()[0] == 1);
    must(cudaSetDevice(0));
  }
  host_cuda::Schedule::current().set("ordered");
}
