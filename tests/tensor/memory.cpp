// Shapes at the limits of their integers, and the allocator's counts.
#include "tensor/memory/allocator.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <utility>

#include "tensor/error.h"
#include "tensor/graph.h"
#include "tensor/io/atomic_file.h"
#include "tensor/kernels/cpu/scratch.h"
#include "tensor/memory/machine_memory.h"
#include "tensor/ops/reduce.h"
#include "tests/support/error_of.h"
#include "tests/support/mentions.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tensors.h"

using namespace fm;
using fm::test::near;

namespace {

constexpr std::int64_t huge = std::int64_t{1} << 40;

}  // namespace

TEST_CASE("an allocation that fails is not counted") {
  const MemoryStats before = memory_stats();
  const auto by_op = memory_by_op();
  CHECK(test::mentions(test::error_of([&] { Tensor::empty({1 << 10, huge}); }), {"out of memory", "4294967296 MiB", "recompute"}));
  CHECK(memory_stats().live == before.live);
  CHECK(memory_stats().peak == before.peak);
  CHECK(memory_stats().cached == before.cached);
  CHECK(memory_by_op() == by_op);
}

TEST_CASE("the memory limit is the lowest of the machine's and its cgroups' limits") {
  TempFolder root;
  const auto write = [&](const std::string& file, const std::string& text) {
    std::filesystem::create_directories((root.path() / file).parent_path());
    write_atomically(root.path() / file, text);
  };
  CHECK(std::isinf(machine_memory(true, root.path()).bytes));                     // no limit is given
  write("proc/meminfo", "MemTotal:       16000 kB\nMemFree:          5 kB\nSwapTotal:       1000 kB\n");
  CHECK(machine_memory(true, root.path()).bytes == 17000 * 1024);
  CHECK(machine_memory(true, root.path()).whose == "this machine");
  CHECK(machine_memory(false, root.path()).bytes == 16000 * 1024);
  write("proc/self/cgroup", "0::/slice/job\n");                           // version 2
  write("sys/fs/cgroup/slice/job/memory.max", "max\n");
  CHECK(machine_memory(true, root.path()).whose == "this machine");
  write("sys/fs/cgroup/slice/memory.max", "5000000\n");
  CHECK(machine_memory(true, root.path()).bytes == 5000000);
  CHECK(machine_memory(true, root.path()).whose == "the cgroup of this process");
  write("sys/fs/cgroup/slice/job/memory.max", "4000000\n");
  CHECK(machine_memory(true, root.path()).bytes == 4000000);
  write("proc/self/cgroup", "9:cpu,memory:/a\n8:pids:/a\n");             // version 1
  CHECK(machine_memory(true, root.path()).whose == "this machine");
  write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK(machine_memory(true, root.path()).whose == "this machine");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "3000000\n");
  CHECK(machine_memory(true, root.path()).bytes == 3000000);
  CHECK(machine_memory().bytes > 0x1p26);                                   // the memory of this machine
}

TEST_CASE("unwritten memory is NaN in the tests, also in a reused block") {
  REQUIRE_MESSAGE(std::getenv("FLOWMAP_POISON_MEMORY") != nullptr, "set FLOWMAP_POISON_MEMORY=1, as meson does");
  for (int i = 0; i < 2; ++i) {
    const Tensor x = Tensor::empty({1000});
    for (const float v : x.to_vector<float>()) CHECK(std::isnan(v));
    x.fill(1);
    auto* scratch = static_cast<float*>(cpu::thread_scratch(4000));
    for (int k = 0; k < 1000; ++k) CHECK(std::isnan(std::exchange(scratch[k], 1.0f)));
  }
}

TEST_CASE("the bytes of a tensor are counted while it lives; its freed block is reused") {
  const MemoryStats before = memory_stats();
  {
    const Tensor x = Tensor::empty({1000, 1000});
    CHECK(memory_stats().live >= before.live + 4000000);
    CHECK(memory_stats().live <= before.live + 4500000);
  }
  CHECK(memory_stats().live == before.live);
  const std::size_t cached = memory_stats().cached;
  const Tensor again = Tensor::empty({1000, 1000});
  CHECK(memory_stats().cached <= cached - 4000000);
}

TEST_CASE("release_cached_memory between stages keeps the peak near the largest stage's memory") {
  release_cached_memory();
  reset_memory_peak();
  const MemoryStats before = memory_stats();
  CHECK(before.cached == 0);
  const auto stage = [](std::int64_t rows) {                       // a stage: makes tensors, of a size that differs between stages, and releases them
    std::vector<Tensor> all;
    for (int i = 0; i < 8; ++i) all.push_back(Tensor::zeros({rows, 1000}));
  };
  const std::int64_t rows[] = {700, 900, 1100, 1300};
  const std::size_t largest = 8 * 1300 * 1000 * 4;
  for (const bool release : {false, true}) {
    release_cached_memory();
    reset_memory_peak();
    for (const std::int64_t n : rows) {
      stage(n);
      if (release) CHECK(release_cached_memory() > 0);
    }
    const std::size_t most = memory_stats().most - before.live;
    if (release) CHECK(most < 1.15 * static_cast<double>(largest));
    else CHECK(most > 2.5 * static_cast<double>(largest));
  }
  CHECK(memory_stats().cached == 0);
  CHECK(memory_stats().live == before.live);
}

TEST_CASE("when memory runs out, cached blocks of other sizes are freed first") {
  rlimit old{};
  REQUIRE(getrlimit(RLIMIT_AS, &old) == 0);
  std::ifstream status("/proc/self/statm");
  std::size_t pages = 0;
  REQUIRE(bool(status >> pages));
  release_cached_memory();
  rlimit tight = old;
  tight.rlim_cur = pages * 4096 + (std::size_t{96} << 20);           // room for 96 MiB more
  REQUIRE(setrlimit(RLIMIT_AS, &tight) == 0);
  { const Tensor a = Tensor::empty({60, 1 << 20}, DType::u8); }      // 60 MiB, kept
  std::string message;
  try {
    const Tensor b = Tensor::empty({70, 1 << 20}, DType::u8);        // does not fit beside the kept blocks
    CHECK(memory_stats().cached < (std::size_t{60} << 20));
  } catch (const Error& e) {
    message = e.what();
  }
  void* scratch = nullptr;
  try {
    scratch = cpu::thread_scratch(std::int64_t{50} << 20);           // does not fit beside the kept blocks either
  } catch (const std::bad_alloc&) {
    message += " no scratch";
  }
  setrlimit(RLIMIT_AS, &old);
  CHECK(message.empty());
  CHECK(scratch != nullptr);
  CHECK(release_cached_memory() >= (std::size_t{50} << 20));
}

TEST_CASE("a number of elements or bytes beyond 2^63 is an error") {
  CHECK(test::mentions(test::error_of<ShapeError>([&] { Tensor::empty({huge, huge}); }), {"shape [1099511627776, 1099511627776]", "dimensions", "2^63"}));
  CHECK_THROWS_AS(Tensor::empty({huge, huge, 0}), ShapeError);
  CHECK_THROWS_AS(Tensor::empty({0, huge, huge}), ShapeError);
  CHECK(test::mentions(test::error_of<ShapeError>([&] { Tensor::empty({huge, 1 << 21}, DType::f64); }), {"[1099511627776, 2097152]", "requested", "2^63"}));
  CHECK_THROWS_AS(Tensor::ones({1}).expand({huge, huge}).contiguous(), ShapeError);
  CHECK_THROWS_AS(Tensor::ones({4}).reshape({huge, huge}), ShapeError);
  CHECK(Tensor::empty({0, huge}).numel() == 0);
}

TEST_CASE("reshape accepts one -1 and refuses other negative numbers and ambiguous sizes") {
  const Tensor x = Tensor::arange(6), none = Tensor::empty({0, 3});
  CHECK(x.reshape({-1, 2}).shape() == Shape{3, 2});
  CHECK(none.reshape({-1, 5}).shape() == Shape{0, 5});
  CHECK(none.reshape({7, 0}).shape() == Shape{7, 0});
  CHECK(test::mentions(test::error_of<ShapeError>([&] { none.reshape({0, -1}); }), {"reshape", "0 elements", "[0, -1]", "0, -1"}));
  CHECK(test::mentions(test::error_of<ShapeError>([&] { x.reshape({0, -1}); }), {"reshape", "6 elements", "[0, -1]", "0, -1"}));
  CHECK(test::mentions(test::error_of<ShapeError>([&] { x.reshape({-1, -1}); }), {"reshape", "6 elements", "[-1, -1]", "-1"}));
  CHECK(test::mentions(test::error_of<ShapeError>([&] { x.reshape({-2, -3}); }), {"reshape", "6 elements", "[-2, -3]"}));
  CHECK(test::mentions(test::error_of<ShapeError>([&] { x.reshape({4, -1}); }), {"reshape", "6 elements", "[4, -1]"}));
}

TEST_CASE("arange is exact up to the largest number of its type") {
  constexpr std::int64_t n = (1 << 24) + 4;
  const Tensor i32 = Tensor::arange(n, DType::i32);
  for (std::int64_t i = n - 8; i < n; ++i) CHECK(i32.data<std::int32_t>()[i] == i);
  CHECK(Tensor::arange(256, DType::u8).data<std::uint8_t>()[255] == 255);
  CHECK(Tensor::arange(3, DType::bf16).to_vector<double>() == std::vector<double>{0, 1, 2});
}

TEST_CASE("a long sum agrees with a naive one and gives the same bits again") {
  const Tensor x = test::normal({100001}, 1);
  double naive = 0;
  for (double v : x.to_vector<double>()) naive += v;
  CHECK(near(sum(x).item(), naive, 1e-14));
  CHECK(sum(x).item() == sum(x).item());
}

TEST_CASE("Reserve and Graph refuse a device that does not exist") {
  CHECK_THROWS_AS(Reserve(Device::cuda(9)), DeviceError);
  CHECK_THROWS_AS(Graph(Device::cuda(9)), DeviceError);
}
