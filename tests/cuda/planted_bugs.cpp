// Bugs planted in kernels (bounds, barriers, exchanges) and in calls of the runtime and of cuBLAS: each is reported, its correct version is
// not. Without the race checker (under a sanitizer) AddressSanitizer finds accesses out of bounds, and red zones reveal writes only.
#include <cublas_v2.h>

#include <cmath>

#include "tensor/kernels/cuda/launch.h"
#include "tests/cuda/planted.h"
#include "tests/support/host_cuda/sanitizer.h"

using namespace fm::test;

namespace {

constexpr unsigned n = 64;

__global__ void copy(const float* x, float* y, unsigned count) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) y[i] = x[i];
}

__global__ void add_one(float* x) { x[threadIdx.x] += 1; }

template <bool right>
__global__ void beyond_shared(float* y) {
  FM_SHARED(float, shared);
  shared[right ? threadIdx.x : threadIdx.x + 1] = 2;
  __syncthreads();
  y[threadIdx.x] = shared[threadIdx.x];
}

template <bool right>
__global__ void barrier_in_a_branch(float* y) {
  y[threadIdx.x] = 1;
  if (right || threadIdx.x < 40) __syncthreads();
  y[threadIdx.x] += 1;
}

// Unless `right`, a part of each warp waits at the barrier and the rest at the shuffle, so neither completes.
template <bool right>
__global__ void barrier_beside_exchange(float* y) {
  float x = static_cast<float>(threadIdx.x);
  if (right || threadIdx.x % 32 < 16) __syncthreads();
  x = __shfl_xor_sync(0xffffffffu, x, 1);
  if (!right && threadIdx.x % 32 >= 16) __syncthreads();
  y[threadIdx.x] = x;
}

template <bool right>
__global__ void exchange_after_return(float* y) {
  if (threadIdx.x >= 20) return;
  y[threadIdx.x] = __shfl_down_sync(right ? 0x000fffffu : 0xffffffffu, static_cast<float>(threadIdx.x), 1);
}

template <bool right>
__global__ void different_masks(float* y) {
  const unsigned mask = right || threadIdx.x < 16 ? 0xffffffffu : 0xffff0000u;
  y[threadIdx.x] = __shfl_xor_sync(mask, static_cast<float>(threadIdx.x), 1);
}

// The accesses of this kernel are not checked, but red zones reveal its writes.
__attribute__((no_sanitize("thread", "address"))) __global__ void write_unseen(float* x, std::ptrdiff_t i) { x[i] = 1; }

// Checks the report of an access out of bounds, by the race checker or by AddressSanitizer, which ends the process.
template <class F>
void check_out_of_bounds(const F& run, const std::vector<std::string>& parts) {
#ifdef FM_ASAN
  check_report(last_words(run), {"AddressSanitizer: ", parts[0]});
#else
  check_report(run(), parts);
#endif
}

}  // namespace

TEST_CASE("writing one element beyond the end") {
  const Stream stream;
  const Device<float> x(stream, std::vector<float>(n + 1, 1.0f)), y(stream, n);
  check_out_of_bounds([&] { return stream.run(2, n, 0, copy, x.data(), y.data(), n + 1); },
                      {"copy", "out of bounds: thread 0 of block (1, 0, 0) writes 4 bytes at byte 256 of an allocation of 256 bytes"});
  CHECK(stream.run(2, n, 0, copy, x.data(), y.data(), n) == "");
  CHECK(y.values() == std::vector<float>(n, 1.0f));
}

TEST_CASE("reading one element beyond the end") {
  const Stream stream;
  const Device<float> x(stream, std::vector<float>(n, 1.0f)), y(stream, n + 1);
  check_out_of_bounds([&] { return stream.run(2, n, 0, copy, x.data(), y.data(), n + 1); },
                      {"copy", "out of bounds: thread 0 of block (1, 0, 0) reads 4 bytes at byte 256 of an allocation of 256 bytes"});
  CHECK(stream.run(2, n, 0, copy, x.data(), y.data(), n) == "");
}

TEST_CASE("an unnoticed write beyond an allocation is reported at the next wait") {
  // In a child process and on another device: parent and child share device memory, so every later wait for this device reports the write again.
  const auto report = [](std::size_t size, std::ptrdiff_t i) {
    return last_words([=] {
      must(cudaSetDevice(1));
      const Stream stream;
      const Device<float> x(stream, size);
      const std::string text = stream.run(1, 1, 0, write_unseen, x.data(), i) + ".";
      _exit(write(STDERR_FILENO, text.data(), text.size()) > 0);
    });
  };
  CHECK(report(n, n) == "a kernel wrote to an address 0 bytes beyond the end of an allocation of 256.");
  CHECK(report(n, -2) == "a kernel wrote to an address 5 bytes before an allocation of 256.");
  CHECK(report(3, 3) == "a kernel wrote to an address 0 bytes beyond the end of an allocation of 12.");
  CHECK(report(n, n - 1) == ".");
}

TEST_CASE("device memory that is used after cudaFreeAsync") {
  const Stream stream;
  const Device<float> y(stream, n);
  Device<float> x(stream, std::vector<float>(n, 1.0f));
  CHECK(stream.run(1, n, 0, copy, x.data(), y.data(), n) == "");
  const float* freed = x.release();
  must(cudaFreeAsync(const_cast<float*>(freed), stream));
  check_out_of_bounds([&] { return stream.run(1, n, 0, copy, freed, y.data(), n); },
                      {"copy", "out of bounds: thread 0 of block (0, 0, 0) reads 4 bytes at memory that is not allocated"});
}

TEST_CASE("unwritten device memory is NaN") {
  const Stream stream;
  const Device<float> x(stream, n);
  CHECK(stream.run(1, n, 0, add_one, x.data()) == "");
  for (const float value : x.values()) CHECK(std::isnan(value));
  must(cudaMemsetAsync(x.data(), 0, n * sizeof(float), stream));
  CHECK(stream.run(1, n, 0, add_one, x.data()) == "");
  CHECK(x.values() == std::vector<float>(n, 1.0f));
}

TEST_CASE("writing one element beyond a block's shared memory") {
  if (!races_are_checked()) return;  // for AddressSanitizer the element is inside a larger vector
  const Stream stream;
  const Device<float> y(stream, n);
  check_report(stream.run(1, n, n * sizeof(float), beyond_shared<false>, y.data()),
               {"beyond_shared<false>", "out of bounds: thread 63 of block (0, 0, 0) writes 4 bytes at shared memory + 256"});
  CHECK(stream.run(1, n, n * sizeof(float), beyond_shared<true>, y.data()) == "");
  CHECK(y.values() == std::vector<float>(n, 2.0f));
}

TEST_CASE("__syncthreads in a branch that some threads do not take") {
  each_schedule([](bool) {
    const Stream stream;
    const Device<float> y(stream, n);
    check_report(stream.run(1, n, 0, barrier_in_a_branch<false>, y.data()),
                 {"barrier_in_a_branch<false>", "__syncthreads: 40 threads of block (0, 0, 0) wait at the barrier, but 24 ended without reaching it"});
    CHECK(stream.run(1, n, 0, barrier_in_a_branch<true>, y.data()) == "");
    CHECK(y.values() == std::vector<float>(n, 2.0f));
  });
}

TEST_CASE("__syncthreads in one half of a warp and a shuffle in the other half") {
  each_schedule([](bool) {
    const Stream stream;
    const Device<float> y(stream, n);
    check_report(stream.run(1, n, 0, barrier_beside_exchange<false>, y.data()),
                 {"barrier_beside_exchange<false>", "names the lanes of mask 4294967295, but only the lanes of mask 4294901760 arrived"});
    CHECK(stream.run(1, n, 0, barrier_beside_exchange<true>, y.data()) == "");
    for (unsigned i = 0; i < n; ++i) CHECK(y.values()[i] == static_cast<float>(i ^ 1));
  });
}

TEST_CASE("a shuffle whose mask names lanes that have ended") {
  each_schedule([](bool exact) {
    const Stream stream;
    const Device<float> y(stream, 20);
    const std::string report = stream.run(1, 32, 0, exchange_after_return<false>, y.data());
    check_report(report, {"exchange_after_return<false>", "warp exchange: thread "});
    if (exact) check_report(report, {"thread 0 of block (0, 0, 0) names the lanes of mask 4294967295, but only the lanes of mask 1048575 arrived"});
    CHECK(stream.run(1, 32, 0, exchange_after_return<true>, y.data()) == "");
    for (unsigned i = 0; i + 1 < 20; ++i) CHECK(y.values()[i] == static_cast<float>(i + 1));
  });
}

TEST_CASE("a shuffle that lanes call with different masks") {
  each_schedule([](bool) {
    const Stream stream;
    const Device<float> y(stream, 32);
    check_report(stream.run(1, 32, 0, different_masks<false>, y.data()), {"different_masks<false>", "calls with mask ", ", which overlaps a waiting lane's mask "});
    CHECK(stream.run(1, 32, 0, different_masks<true>, y.data()) == "");
    for (unsigned i = 0; i < 32; ++i) CHECK(y.values()[i] == static_cast<float>(i ^ 1));
  });
}
