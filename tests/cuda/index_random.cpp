// Indices, random numbers and resampling on a GPU. Results without rounding have the same bits as on the CPU.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "tensor/error.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/index.h"
#include "tensor/ops/reduce.h"
#include "tensor/ops/resize.h"
#include "tensor/random/fill.h"
#include "tests/cuda/on_gpu.h"
#include "tests/support/kernel_check.h"

using namespace fm;
using fm::test::gpu;
using fm::test::OnGpu;
using Int = std::int64_t;

namespace {

constexpr DType all_types[] = {DType::f32, DType::f64, DType::bf16, DType::i32, DType::i64, DType::u8};

// A tensor on the CPU as raw bytes on the GPU.
OnGpu<std::byte> bytes_of(const Tensor& x, std::size_t offset = 0) {
  const auto* p = static_cast<const std::byte*>(x.raw());
  return OnGpu<std::byte>({p, p + x.bytes()}, offset);
}

bool same(const OnGpu<std::byte>& got, const Tensor& want) {
  const auto bytes = got.values();
  return bytes.size() == want.bytes() && (bytes.empty() || std::memcmp(bytes.data(), want.raw(), bytes.size()) == 0);
}

Tensor values(const Shape& shape, DType dtype) { return affine(random_uniform(shape, {3, 1}, 0, DType::f32, Device{}), 200, 0).to(dtype); }

std::vector<Int> some_indices(Int n, Int limit) {
  std::vector<Int> index(static_cast<std::size_t>(n));
  for (Int i = 0; i < n; ++i) index[static_cast<std::size_t>(i)] = (i * i + i / 3) % limit;
  return index;
}

Tensor index_tensor(const std::vector<Int>& index) { return Tensor::from(index, {static_cast<Int>(index.size())}); }

}  // namespace

TEST_CASE("gather and scatter_add on a GPU move and add the same bits as the CPU") {
  const DefaultDevice on_cpu(Device{});
  for (const DType dtype : all_types)
    for (const Int row : {1, 3, 8, 33, 300})
      for (const Int n : {1, 7, 600}) {
        INFO(name_of(dtype) << " rows of " << row << ", " << n << " indices");
        const Int limit = 11;
        const auto index = some_indices(n, limit);
        const OnGpu<Int> at(index);
        const Tensor table = values({limit, row}, dtype), x = values({n, row}, dtype);
        const OnGpu<std::byte> y = bytes_of(Tensor::zeros({n, row}, dtype));
        gpu().index.gather(dtype, bytes_of(table).data(), at.data(), y.data(), n, row, limit);
        CHECK(same(y, gather(table, index_tensor(index))));
        const OnGpu<std::byte> sums = bytes_of(Tensor::zeros({limit, row}, dtype));
        gpu().index.scatter_add(dtype, bytes_of(x).data(), at.data(), sums.data(), n, row, limit);
        CHECK(same(sums, scatter_add(x, index_tensor(index), {limit, row})));
      }
  // Rows whose size is a multiple of 16 bytes, at addresses that are no multiples of 16.
  const Tensor table = values({5, 8}, DType::f32);
  const OnGpu<std::byte> from = bytes_of(table, 4), y = bytes_of(Tensor::zeros({3, 8}), 4);
  gpu().index.gather(DType::f32, from.data(), OnGpu<Int>({4, 0, 4}).data(), y.data(), 3, 8, 5);
  CHECK(same(y, gather(table, index_tensor({4, 0, 4}))));
}

TEST_CASE("one_hot and argmax on a GPU") {
  const DefaultDevice on_cpu(Device{});
  for (const DType dtype : all_types)
    for (const Int classes : {1, 5, 1001}) {
      const auto index = some_indices(13, classes);
      const OnGpu<std::byte> y = bytes_of(Tensor::full({13, classes}, 3, dtype));
      gpu().index.one_hot(dtype, OnGpu<Int>(index).data(), y.data(), 13, classes);
      CHECK(same(y, one_hot(index_tensor(index), classes, dtype)));
    }
  for (const Int n : {1, 2, 31, 256, 257, 1000}) {
    std::vector<double> x = fm::test::random_array<double>(4 * n, 5);
    for (Int i = 0; i < n; ++i) x[static_cast<std::size_t>(n + i)] = i % 7 == 6 ? 2 : 1;  // of equal elements argmax returns the first
    x[static_cast<std::size_t>(2 * n)] = std::numeric_limits<double>::quiet_NaN();        // a NaN has the same effect as in std::max_element
    x[static_cast<std::size_t>(4 * n - 1)] = n > 1 ? std::numeric_limits<double>::quiet_NaN() : 0;
    const OnGpu<Int> y(std::vector<Int>(4, -1));
    gpu().index.argmax(OnGpu<double>(x).data(), y.data(), 4, n);
    CHECK(y.values() == argmax(Tensor::from(x, {4, n}), 1).to_vector<Int>());
  }
}

TEST_CASE("an index out of range is reported at the next wait for the device, and no memory is accessed at it") {
  const DefaultDevice on_cpu(Device{});
  const auto raises = [](auto&& call) {
    call();
    CHECK_THROWS_AS(gpu().synchronise(), ShapeError);
    CHECK_NOTHROW(gpu().synchronise());
  };
  for (const Int bad : {Int(-1), Int(4), Int(1) << 40}) {
    const OnGpu<Int> index({0, bad, 3});
    const OnGpu<float> x({1, 2, 3, 4}), y({7, 7, 7}), sums({0, 0, 0, 0}), hot(std::vector<float>(12, 7));
    raises([&] { gpu().index.check(index.data(), 3, 4); });
    raises([&] { gpu().index.gather(DType::f32, x.data(), index.data(), y.data(), 3, 1, 4); });
    CHECK(y.values() == std::vector<float>{1, 7, 4});
    raises([&] { gpu().index.gather(DType::f32, x.data(), index.data(), y.data(), 3, 0, 4); });
    raises([&] { gpu().index.scatter_add(DType::f32, x.data(), index.data(), sums.data(), 3, 1, 4); });
    CHECK(sums.values() == std::vector<float>{1, 0, 0, 3});
    raises([&] { gpu().index.scatter_add(DType::f32, x.data(), index.data(), sums.data(), 3, 1, 0); });
    raises([&] { gpu().index.one_hot(DType::f32, index.data(), hot.data(), 3, 4); });
    CHECK(hot.values() == std::vector<float>{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  }
  gpu().index.check(OnGpu<Int>({0, 3}).data(), 2, 4);
  CHECK_NOTHROW(gpu().synchronise());
}

TEST_CASE("random numbers on a GPU equal the CPU's, bit for bit") {
  const DefaultDevice on_cpu(Device{});
  const RandomKey key{0x123456789abcdefull, 17};
  for (const Int n : {1, 3, 4, 5, 1023, 4096, 100000}) {
    const OnGpu<float> u(std::vector<float>(static_cast<std::size_t>(n))), z(std::vector<float>(static_cast<std::size_t>(n)), 1);
    gpu().random.uniform(u.data(), 1, n, nullptr, key, 5);
    gpu().random.normal(z.data(), 1, n, nullptr, key, 5);
    CHECK(u.values() == random_uniform({n}, key, 5, DType::f32, Device{}).to_vector<float>());
    CHECK(z.values() == random_normal({n}, key, 5, DType::f32, Device{}).to_vector<float>());
  }
  const Samples samples{3, 0, 1234567890123, 7};
  const Int rows = static_cast<Int>(samples.size());
  std::vector<Int> blocks;
  for (const Int s : samples) blocks.push_back(static_cast<Int>(static_cast<std::uint64_t>(s) << 24));  // a sample's first block of random numbers, as in fill.cpp
  const OnGpu<Int> first(blocks);
  for (const Int n : {1, 6, 8, 777}) {
    const OnGpu<float> u(std::vector<float>(static_cast<std::size_t>(rows * n))), z(std::vector<float>(static_cast<std::size_t>(rows * n)));
    gpu().random.uniform(u.data(), rows, n, first.data(), key, 2);
    gpu().random.normal(z.data(), rows, n, first.data(), key, 2);
    CHECK(u.values() == random_uniform_rows(samples, {n}, key, 2, DType::f32, Device{}).to_vector<float>());
    CHECK(z.values() == random_normal_rows(samples, {n}, key, 2, DType::f32, Device{}).to_vector<float>());
  }
}

namespace {

template <class T>
void check_resample(const Resampling& r, Int outer, Int inner, void (*kernel)(const cuda::ResampleArgs<T>&), double tolerance) {
  const auto x = fm::test::random_array<T>(outer * r.in * inner, 9);
  const auto want = resample(Tensor::from(x, {outer, r.in, inner}), 1, r).template to_vector<T>();
  const OnGpu<T> from(x), y(std::vector<T>(want.size()));
  const OnGpu<Int> first(r.first), begin(r.begin);
  const OnGpu<double> weights(r.weights);
  kernel({outer, r.in, r.out, inner, first.data(), begin.data(), weights.data(), from.data(), y.data()});
  const auto got = y.values();
  double worst = 0;
  for (std::size_t i = 0; i < want.size(); ++i) worst = std::max(worst, std::fabs(double(got[i]) - double(want[i])));
  CHECK(worst <= tolerance);
}

}  // namespace

TEST_CASE("resampling on a GPU") {
  const DefaultDevice on_cpu(Device{});
  for (const auto kind :
       {Interpolation::bilinear, Interpolation::bicubic, Interpolation::bilinear_antialias, Interpolation::bicubic_antialias})
    for (const auto& [in, out] : {std::pair<Int, Int>{1, 3}, {7, 7}, {9, 4}, {5, 13}})
      for (const Int inner : {1, 6})
        for (const Resampling& r : {resampling(in, out, kind), resampling(in, out, kind).transposed()}) {
          check_resample<float>(r, 3, inner, gpu().resample.f32, 1e-5);
          check_resample<double>(r, 3, inner, gpu().resample.f64, 1e-12);
        }
}
