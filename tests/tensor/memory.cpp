// Shapes at the limits of their integers, and what the allocator counts.
#include "tensor/memory/allocator.h"

#include <doctest/doctest.h>

#include "tensor/error.h"
#include "tensor/graph.h"
#include "tensor/ops/reduce.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"

using namespace fm;
using fm::test::near;

namespace {

constexpr std::int64_t huge = std::int64_t{1} << 40;

}  // namespace

TEST_CASE("an allocation that fails is not counted") {
  const MemoryStats before = memory_stats();
  const auto by_op = memory_by_op();
  CHECK_THROWS_WITH_AS(Tensor::empty({1 << 10, huge}), "out of memory: 4294967296 MiB asked for; use a smaller batch or recompute", Error);
  CHECK(memory_stats().live == before.live);
  CHECK(memory_stats().peak == before.peak);
  CHECK(memory_stats().cached == before.cached);
  CHECK(memory_by_op() == by_op);
}

TEST_CASE("bytes are counted while a tensor lives and kept for the next one") {
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

TEST_CASE("products of dimensions that no integer holds are an error, not a small number") {
  CHECK_THROWS_WITH_AS(Tensor::empty({huge, huge}),
                       "shape [1099511627776, 1099511627776]: the product of its dimensions is beyond 2^63", ShapeError);
  CHECK_THROWS_AS(Tensor::empty({huge, huge, 0}), ShapeError);
  CHECK_THROWS_AS(Tensor::empty({0, huge, huge}), ShapeError);
  CHECK_THROWS_WITH_AS(Tensor::empty({huge, 1 << 21}, DType::f64),
                       "a tensor of shape [1099511627776, 2097152] was asked for: its bytes are beyond 2^63", ShapeError);
  CHECK_THROWS_AS(Tensor::ones({1}).expand({huge, huge}).contiguous(), ShapeError);
  CHECK_THROWS_AS(Tensor::ones({4}).reshape({huge, huge}), ShapeError);
  CHECK(Tensor::empty({0, huge}).numel() == 0);
}

TEST_CASE("reshape: one -1, no other negative number, no choice left open") {
  const Tensor x = Tensor::arange(6), none = Tensor::empty({0, 3});
  CHECK(x.reshape({-1, 2}).shape() == Shape{3, 2});
  CHECK(none.reshape({-1, 5}).shape() == Shape{0, 5});
  CHECK(none.reshape({7, 0}).shape() == Shape{7, 0});
  CHECK_THROWS_WITH_AS(none.reshape({0, -1}),
                       "reshape: 0 elements do not fill shape [0, -1]: beside a dimension of 0, -1 could be anything", ShapeError);
  CHECK_THROWS_WITH_AS(x.reshape({0, -1}), "reshape: 6 elements do not fill shape [0, -1]: beside a dimension of 0, -1 could be anything",
                       ShapeError);
  CHECK_THROWS_WITH_AS(x.reshape({-1, -1}), "reshape: 6 elements do not fill shape [-1, -1]: only one dimension may be -1", ShapeError);
  CHECK_THROWS_WITH_AS(x.reshape({-2, -3}), "reshape: 6 elements do not fill shape [-2, -3]: a dimension is negative", ShapeError);
  CHECK_THROWS_WITH_AS(x.reshape({4, -1}), "reshape: 6 elements do not fill shape [4, -1]", ShapeError);
}

TEST_CASE("arange counts exactly as far as its type does") {
  constexpr std::int64_t n = (1 << 24) + 4;
  const Tensor i32 = Tensor::arange(n, DType::i32);
  for (std::int64_t i = n - 8; i < n; ++i) CHECK(i32.data<std::int32_t>()[i] == i);
  CHECK(Tensor::arange(256, DType::u8).data<std::uint8_t>()[255] == 255);
  CHECK(Tensor::arange(3, DType::bf16).to_vector<double>() == std::vector<double>{0, 1, 2});
}

TEST_CASE("a long sum takes its scratch from the engine's and is the same again") {
  const Tensor x = test::normal({100001}, 1);
  double naive = 0;
  for (double v : x.to_vector<double>()) naive += v;
  CHECK(near(sum(x).item(), naive, 1e-14));
  CHECK(sum(x).item() == sum(x).item());
}

TEST_CASE("memory of a device that is not there is refused, also where a constructor goes no further") {
  CHECK_THROWS_AS(Reserve(Device::cuda(9)), DeviceError);
  CHECK_THROWS_AS(Graph(Device::cuda(9)), DeviceError);
}
