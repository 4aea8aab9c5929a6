// Races planted in kernels. Each is found under every order of threads and blocks, and its report names places and threads. No correct
// version is reported.
#include <numeric>

#include "tensor/kernels/cuda/launch.h"
#include "tests/cuda/planted.h"

using namespace fm::test;

namespace {

constexpr unsigned n = 64;

template <bool right>
__global__ void read_neighbour(float* y) {
  FM_SHARED(float, shared);
  shared[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (right) __syncthreads();
  y[threadIdx.x] = shared[(threadIdx.x + 1) % n];
}

template <bool right>
__global__ void halve(const float* x, float* y) {
  FM_SHARED(float, shared);
  shared[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  for (unsigned half = n / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    if (right) __syncthreads();
  }
  if (threadIdx.x == 0) *y = shared[0];
}

// Without the second barrier some threads write the next round's tile while others still read this round's.
template <bool right>
__global__ void use_tile_again(float* y) {
  __shared__ float tile[n];
  float sum = 0;
  for (unsigned round = 0; round < 3; ++round) {
    tile[threadIdx.x] = static_cast<float>(round * n + threadIdx.x);
    __syncthreads();
    sum += tile[n - 1 - threadIdx.x];
    if (right) __syncthreads();
  }
  y[threadIdx.x] = sum;
}

template <bool right>
__global__ void talk_in_a_warp(float* y) {
  FM_SHARED(float, shared);
  shared[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (right) __syncwarp();
  y[threadIdx.x] = shared[threadIdx.x ^ 1];
}

// Each half of a warp meets separately, so no order exists between the two halves.
template <bool right>
__global__ void talk_across_half_warps(float* y) {
  FM_SHARED(float, shared);
  shared[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncwarp(threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u);
  y[threadIdx.x] = shared[threadIdx.x ^ (right ? 15 : 31)];
}

template <bool right>
__global__ void two_blocks_write(float* y) {
  const unsigned i = right ? blockIdx.x * blockDim.x + threadIdx.x : threadIdx.x;
  y[i] = 1;
}

// Every block has shared memory of its own.
template <bool right>
__global__ void share_in_blocks(float* y) {
  FM_SHARED(float, shared);
  __shared__ float more[n];
  shared[threadIdx.x] = more[threadIdx.x] = static_cast<float>(blockIdx.x);
  __syncthreads();
  y[right ? blockIdx.x * n + threadIdx.x : threadIdx.x] = shared[n - 1 - threadIdx.x] + more[n - 1 - threadIdx.x];
}

// A block reads its neighbor's result. Correct if another launch wrote it.
template <bool right>
__global__ void read_next_block(const float* x, float* y) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x, next = (i + blockDim.x) % (gridDim.x * blockDim.x);
  y[i] = 1;
  if (blockIdx.x == 0) y[i] += (right ? x : y)[next];
}

template <bool right>
__global__ void accumulate(float* sum) {
  if constexpr (right)
    atomicAdd(sum, 1.0f);
  else
    *sum += 1;
}

// Two threads write the two halves of a word. If a thread also writes its neighbor's half, it is a race.
template <bool right>
__global__ void write_halves(std::uint16_t* y) {
  y[threadIdx.x] = static_cast<std::uint16_t>(threadIdx.x);
  if (!right && threadIdx.x + 1 < blockDim.x) y[threadIdx.x + 1] = static_cast<std::uint16_t>(threadIdx.x + 1);
}

// Several threads that write the same number are a race, too.
template <bool right>
__global__ void raise_flag(int* flag) {
  if (right ? threadIdx.x == 0 : threadIdx.x < 40) *flag = 1;
}

std::vector<float> counting(unsigned count) {
  std::vector<float> x(count);
  std::iota(x.begin(), x.end(), 0.0f);
  return x;
}

}  // namespace

TEST_CASE("reading a neighbor's element without __syncthreads") {
  each_schedule([](bool exact) {
    const Stream stream;
    const Device<float> y(stream, n);
    const std::string report = stream.run(1, n, n * sizeof(float), read_neighbour<false>, y.data());
    check_report(report, {"read_neighbour<false>", "race: thread ", " of block (0, 0, 0) ", " 4 bytes at shared memory + "});
    if (exact)
      check_report(report, {"thread 1 of block (0, 0, 0) writes 4 bytes at shared memory + 4, which thread 0 of the same block read, "
                            "without __syncwarp or __syncthreads in between"});
    CHECK(stream.run(1, n, n * sizeof(float), read_neighbour<true>, y.data()) == "");
    for (unsigned i = 0; i < n; ++i) CHECK(y.values()[i] == static_cast<float>((i + 1) % n));
  });
}

TEST_CASE("a tree reduction without __syncthreads between its rounds") {
  each_schedule([](bool exact) {
    const Stream stream;
    const Device<float> x(stream, counting(n)), y(stream, 1);
    const std::string report = stream.run(1, n, n * sizeof(float), halve<false>, x.data(), y.data());
    check_report(report, {"halve<false>", "race: ", "shared memory + "});
    if (exact)
      check_report(report, {"thread 1 of block (0, 0, 0) writes 4 bytes at shared memory + 4, which thread 0 of the same block read"});
    CHECK(stream.run(1, n, n * sizeof(float), halve<true>, x.data(), y.data()) == "");
    CHECK(y.values()[0] == n * (n - 1) / 2);
  });
}

TEST_CASE("a shared tile that is written again while other threads read it") {
  each_schedule([](bool) {
    const Stream stream;
    const Device<float> y(stream, n);
    check_report(stream.run(1, n, 0, use_tile_again<false>, y.data()),
                 {"use_tile_again<false>", "reads 4 bytes at a static __shared__ variable",
                  " of the same block wrote, without __syncthreads in between"});
    CHECK(stream.run(1, n, 0, use_tile_again<true>, y.data()) == "");
    for (unsigned i = 0; i < n; ++i) CHECK(y.values()[i] == static_cast<float>(3 * n + 3 * (n - 1 - i)));
  });
}

TEST_CASE("lanes that exchange values through shared memory without __syncwarp") {
  each_schedule([](bool exact) {
    const Stream stream;
    const Device<float> y(stream, n);
    const std::string report = stream.run(1, n, n * sizeof(float), talk_in_a_warp<false>, y.data());
    check_report(report, {"talk_in_a_warp<false>", "shared memory + ", "without __syncwarp or __syncthreads in between"});
    if (exact)
      check_report(report, {"thread 1 of block (0, 0, 0) writes 4 bytes at shared memory + 4, which thread 0 of the same block read"});
    CHECK(stream.run(1, n, n * sizeof(float), talk_in_a_warp<true>, y.data()) == "");
    for (unsigned i = 0; i < n; ++i) CHECK(y.values()[i] == static_cast<float>(i ^ 1));
  });
}

TEST_CASE("__syncwarp whose mask leaves out the lane that wrote") {
  each_schedule([](bool) {
    const Stream stream;
    const Device<float> y(stream, 32);
    check_report(stream.run(1, 32, 32 * sizeof(float), talk_across_half_warps<false>, y.data()),
                 {"talk_across_half_warps<false>", "without __syncwarp or __syncthreads in between"});
    CHECK(stream.run(1, 32, 32 * sizeof(float), talk_across_half_warps<true>, y.data()) == "");
    for (unsigned i = 0; i < 32; ++i) CHECK(y.values()[i] == static_cast<float>(i ^ 15));
  });
}

TEST_CASE("two blocks that write one element") {
  each_schedule([](bool exact) {
    const Stream stream;
    const Device<float> y(stream, 2 * n);
    const std::string report = stream.run(2, n, 0, two_blocks_write<false>, y.data());
    check_report(report, {"two_blocks_write<false>", "writes 4 bytes at byte ", " of an allocation of 512 bytes",
                          "; blocks of a launch have no order"});
    if (exact)
      check_report(
          report,
          {"thread 0 of block (1, 0, 0) writes 4 bytes at byte 0 of an allocation of 512 bytes, which thread 0 of block (0, 0, 0) wrote"});
    CHECK(stream.run(2, n, 0, two_blocks_write<true>, y.data()) == "");
    CHECK(y.values() == std::vector<float>(2 * n, 1.0f));
  });
}

TEST_CASE("shared memory of different blocks is separate; a race in the device's memory is found") {
  each_schedule([](bool) {
    const Stream stream;
    const Device<float> y(stream, 3 * n);
    check_report(stream.run(3, n, n * sizeof(float), share_in_blocks<false>, y.data()),
                 {"share_in_blocks<false>", " of an allocation of 768 bytes"});
    CHECK(stream.run(3, n, n * sizeof(float), share_in_blocks<true>, y.data()) == "");
    for (unsigned i = 0; i < 3 * n; ++i) CHECK(y.values()[i] == static_cast<float>(2 * (i / n)));
  });
}

TEST_CASE("a block that reads what another one writes") {
  each_schedule([](bool exact) {
    const Stream stream;
    const Device<float> x(stream, counting(2 * n)), y(stream, 2 * n);
    const std::string report = stream.run(2, n, 0, read_next_block<false>, x.data(), y.data());
    check_report(report, {"read_next_block<false>", "; blocks of a launch have no order"});
    if (exact)
      check_report(
          report,
          {"thread 0 of block (1, 0, 0) writes 4 bytes at byte 256 of an allocation of 512 bytes, which thread 0 of block (0, 0, 0) read"});
    CHECK(stream.run(2, n, 0, read_next_block<true>, x.data(), y.data()) == "");
    for (unsigned i = 0; i < n; ++i) CHECK(y.values()[i] == static_cast<float>(1 + n + i));
  });
}

TEST_CASE("a sum of many threads without atomics") {
  each_schedule([](bool exact) {
    const Stream stream;
    const Device<float> sum(stream, std::vector<float>{0, -1});
    for (const unsigned blocks : {1u, 3u}) {
      const std::string report = stream.run(blocks, n, 0, accumulate<false>, sum.data());
      check_report(report, {"accumulate<false>", "at byte 0 of an allocation of 8 bytes"});
      if (exact) check_report(report, {"thread 1 of block (0, 0, 0) ", "which thread 0 of the same block wrote"});
    }
    const Device<float> right(stream, std::vector<float>{0});
    CHECK(stream.run(3, n, 0, accumulate<true>, right.data()) == "");
    CHECK(right.values()[0] == 3 * n);
  });
}

TEST_CASE("threads that write each other's half of one word") {
  each_schedule([](bool) {
    const Stream stream;
    const Device<std::uint16_t> y(stream, n - 1);
    check_report(stream.run(1, n - 1, 0, write_halves<false>, y.data()),
                 {"write_halves<false>", "writes 2 bytes at byte ", " of an allocation of 126 bytes"});
    CHECK(stream.run(1, n - 1, 0, write_halves<true>, y.data()) == "");
    for (unsigned i = 0; i + 1 < n; ++i) CHECK(y.values()[i] == i);
  });
}

TEST_CASE("a flag that many threads set to the same value") {
  each_schedule([](bool exact) {
    const Stream stream;
    const Device<int> flag(stream, std::vector<int>{0});
    const std::string report = stream.run(1, n, 0, raise_flag<false>, flag.data());
    check_report(report, {"raise_flag<false>", "race: "});
    if (exact)
      check_report(
          report,
          {"thread 1 of block (0, 0, 0) writes 4 bytes at byte 0 of an allocation of 4 bytes, which thread 0 of the same block wrote"});
    CHECK(stream.run(1, n, 0, raise_flag<true>, flag.data()) == "");
    CHECK(flag.values()[0] == 1);
  });
}
