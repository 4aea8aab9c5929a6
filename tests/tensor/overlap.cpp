// Writing through views: a destination with two elements in one place is refused, and a source that shares memory with the destination is read
// as it was before. This holds for every operation that writes into a given tensor.
#include "tensor/ops/overlap.h"

#include <doctest/doctest.h>

#include <set>

#include "tensor/error.h"
#include "tensor/ops/attention.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;
using Doubles = std::vector<double>;

namespace {

Tensor square() { return Tensor::arange(9).reshape({3, 3}); }
Doubles values(const Tensor& x) { return x.to_vector<double>(); }

// True if two elements have the same offset; decided by listing all offsets.
bool repeats(const Shape& shape, const Strides& strides) {
  std::set<std::int64_t> seen;
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    std::int64_t left = i, at = 0;
    for (int d = shape.rank() - 1; d >= 0; --d) {
      at += left % shape[d] * strides[d];
      left /= shape[d];
    }
    if (!seen.insert(at).second) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("overlaps_itself agrees with a naive search for all tested shapes and strides") {
  const Tensor memory = Tensor::zeros({200});
  for (std::int64_t a : {1, 2, 3, 4})
    for (std::int64_t b : {1, 2, 3, 5})
      for (std::int64_t c : {1, 2, 3})
        for (std::int64_t sa : {0, 1, 2, 3, 5, 12})
          for (std::int64_t sb : {0, 1, 2, 3, 4, 7})
            for (std::int64_t sc : {0, 1, 2, 6}) {
              const Shape shape{a, b, c}, strides{sa, sb, sc};
              CAPTURE(to_string(shape));
              CAPTURE(to_string(strides));
              REQUIRE(overlaps_itself(memory.as_strided(shape, strides)) == repeats(shape, strides));
            }
  CHECK_FALSE(overlaps_itself(Tensor::ones({3, 1}).expand({0, 3, 5})));
  CHECK_FALSE(overlaps_itself(Tensor()));
  CHECK_FALSE(overlaps_itself(Tensor::scalar(1)));
}

TEST_CASE("a copy between overlapping views reads the values from before the copy") {
  const auto copied = [](const Tensor& to, const Tensor& from) {
    const Doubles want = values(from.expand(to.shape()).clone());
    to.copy_from(from);
    CHECK(values(to) == want);
  };
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::i64, DType::u8}) {
    Tensor x = square().to(dtype);
    copied(x, x.transpose(0, 1));
    x = square().to(dtype);
    copied(x, x);
    copied(x, x.slice(0, 1, 2));                                                  // one of its rows, broadcast
    x = square().to(dtype);
    copied(x, x.select(1, 0).unsqueeze(1));                                       // a column
    Tensor line = Tensor::arange(100).to(dtype);
    copied(line.slice(0, 0, 99), line.slice(0, 1, 100));
    line = Tensor::arange(100).to(dtype);
    copied(line.slice(0, 1, 100), line.slice(0, 0, 99));
    Tensor pairs = Tensor::arange(20).to(dtype).reshape({10, 2});
    copied(pairs.select(1, 0), pairs.select(1, 1));                               // source and destination interleave
  }
  Tensor large = Tensor::arange(1 << 18).reshape({512, 512});                     // large enough for many threads
  copied(large, large.transpose(0, 1));
  // The same bytes as numbers of another type.
  std::shared_ptr<std::byte> bytes(new std::byte[64], [](std::byte* p) { delete[] p; });
  const Tensor as_i32 = Tensor::view_of(bytes, bytes.get(), {8}, DType::i32), as_f32 = Tensor::view_of(bytes, bytes.get() + 4, {8}, DType::f32);
  as_i32.copy_from(Tensor::arange(8, DType::i32, Device{}));
  as_f32.copy_from(as_i32);
  CHECK(values(as_f32) == Doubles{0, 1, 2, 3, 4, 5, 6, 7});
}

TEST_CASE("writing to a view that holds an element twice is an error") {
  const Tensor x = square(), row = x.slice(0, 0, 1).expand({3, 3}), windows = Tensor::arange(5).as_strided({3, 3}, {1, 1});
  for (const Tensor& to : {row, windows, x.unsqueeze(2).expand({3, 3, 2}), Tensor::scalar(1).expand({2})}) {
    const Doubles before = values(to);
    CHECK_THROWS_WITH_AS(to.copy_from(Tensor::ones(to.shape())), doctest::Contains("share memory; clone() it first"), ShapeError);
    CHECK_THROWS_WITH_AS(to.copy_from(to), doctest::Contains("copy: "), ShapeError);
    CHECK_THROWS_WITH_AS(to.fill(7), doctest::Contains("fill: "), ShapeError);
    Tensor sum = to;
    CHECK_THROWS_WITH_AS(add_into(sum, Tensor::ones(to.shape())), doctest::Contains("add_into: "), ShapeError);
    CHECK(values(to) == before);
  }
  Tensor::ones({3, 1}).expand({0, 3, 5}).fill(1);                                 // no element to write
  const Tensor view = x.transpose(0, 1).slice(0, 1, 3);
  view.fill(-1);
  CHECK(values(x) == Doubles{0, -1, -1, 3, -1, -1, 6, -1, -1});
  CHECK_THROWS_AS(Tensor().fill(1), Error);
  CHECK_THROWS_AS(x.copy_from(Tensor()), Error);
}

TEST_CASE("add_into adds the old values when the term is the sum itself, transposed or shifted") {
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
    const auto added = [](const Tensor& to, const Tensor& term) {
      const Doubles want = values(add(to, term * 2.0));
      Tensor sum = to;
      add_into(sum, term, 2);
      CHECK(values(to) == want);
    };
    Tensor x = square().to(dtype);
    added(x, x);
    added(x, x.transpose(0, 1));
    added(x, x.slice(0, 1, 2).expand({3, 3}));
    const Tensor line = Tensor::arange(40000).to(dtype) * 0.0078125;
    added(line.slice(0, 1, 40000), line.slice(0, 0, 39999));
    const Tensor table = Tensor::arange(12).to(dtype).reshape({3, 4});
    added(table.slice(1, 1, 3), table.slice(1, 0, 2));
    added(table.transpose(0, 1), Tensor::ones({4, 3}, dtype));
  }
  Tensor ints = Tensor::arange(3, DType::i64);
  CHECK_THROWS_AS(add_into(ints, ints), DTypeError);
}

TEST_CASE("matmul_into adds the right product when its result is one of its own factors") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    Tensor a = normal({70, 70}, 1, dtype);
    const Tensor b = normal({70, 70}, 2, dtype), want = a + matmul(a, b);
    matmul_into(a, a, b);
    CHECK(max_difference(a, want) < (dtype == DType::f64 ? 1e-12 : 1e-4));
    Tensor c = b.clone();
    const Tensor square_too = c + matmul(c.transpose(0, 1), c);
    matmul_into(c, c.transpose(0, 1), c);
    CHECK(max_difference(c, square_too) < (dtype == DType::f64 ? 1e-12 : 1e-4));
  }
}

TEST_CASE("attention_pull refuses outputs that overlap its operands, and outputs of the wrong shape or type") {
  const Tensor qkv = normal({1, 5, 12}, 1), gx = Tensor::zeros({1, 5, 12}, DType::f64);
  const Qkv in = split_qkv(qkv, 2), out = split_qkv(gx, 2);
  const AttentionSaved saved = attention_value(in);
  const Tensor go = normal({1, 5, 2, 2}, 2);
  CHECK_NOTHROW(attention_pull(in, saved, go, out));
  CHECK_THROWS_WITH_AS(attention_pull(in, saved, go, in), doctest::Contains("overlaps an operand"), ShapeError);
  const Tensor row = gx.slice(1, 0, 1);
  const Qkv twice = split_qkv(Tensor::zeros({1, 1, 12}, DType::f64).expand({1, 5, 12}), 2);
  CHECK_THROWS_AS(attention_pull(in, saved, go, {twice.q, {}, {}}), ShapeError);
  CHECK_THROWS_AS(attention_pull(in, saved, go.slice(1, 0, 4), out), ShapeError);
  CHECK_THROWS_AS(attention_pull(in, saved, go, {out.q.slice(2, 0, 4), {}, {}}), ShapeError);
  CHECK_THROWS_AS(attention_pull(in, saved, go, {out.q.to(DType::f32), {}, {}}), DTypeError);
}

TEST_CASE("relu_into writes into a range of channels, into its input, and into views that overlap its input") {
  for (const DType type : {DType::f32, DType::f64, DType::bf16}) {
    const Tensor x = normal({3, 2, 4500}, 1, type);                                      // rows of more than one piece
    const Tensor wanted = relu(x), all = Tensor::full({3, 5, 4500}, 7, type), before = x.clone();
    relu_into(x, all.slice(1, 2, 4));
    CHECK(max_difference(all.slice(1, 2, 4), wanted) == 0);
    for (const double v : values(all.slice(1, 0, 2))) REQUIRE(v == 7);
    for (const double v : values(all.slice(1, 4, 5))) REQUIRE(v == 7);
    CHECK(max_difference(x, before) == 0);
    relu_into(x.transpose(1, 2), all.slice(1, 0, 2).transpose(1, 2));                    // rows that are not contiguous
    CHECK(max_difference(all.slice(1, 0, 2), wanted) == 0);
    const Tensor strip = normal({4, 3}, 2, type), moved = relu(strip.slice(0, 0, 3));
    relu_into(strip.slice(0, 0, 3), strip.slice(0, 1, 4));
    CHECK(max_difference(strip.slice(0, 1, 4), moved) == 0);
    relu_into(x, x);
    CHECK(max_difference(x, wanted) == 0);
  }
  const Tensor one = Tensor::zeros({2, 1});
  CHECK_THROWS_AS(relu_into(square().slice(1, 0, 2).slice(0, 0, 2), one.expand({2, 2})), ShapeError);
  CHECK_THROWS_AS(relu_into(square(), Tensor::zeros({3, 2})), ShapeError);
  CHECK_THROWS_AS(relu_into(square(), Tensor::zeros({3, 3}, DType::f64)), DTypeError);
}
