// Families map, reduce, copy, gather and scatter_add: every instruction set against `base`, and results against naive loops in double over
// odd shapes, broadcasts and strided views.
#include "tensor/ops/elementwise.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "tensor/error.h"
#include "tensor/kernels/cpu/isa.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/index.h"
#include "tensor/ops/reduce.h"
#include "tests/support/kernel_check.h"
#include "tests/support/near.h"
#include "tests/support/op_samples.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;
using Doubles = std::vector<double>;

namespace {

// Checks the results of f on every instruction set against those on base. They may differ by `ulps` units in the last place of the value, or of 1e-3
// for smaller values: contraction to fused multiply-add changes how sums that cancel are rounded.
void same_on_every_isa(double ulps, const std::function<Tensor()>& f) {
  const IsaScope scope;
  cpu::set_active_isa(cpu::Isa::base);
  const Tensor base = f();
  const double eps = base.dtype() == DType::f64 ? 0x1p-52 : 0x1p-23;
  const Doubles want = base.to_vector<double>();
  each_isa([&](const std::string& isa) {
    CAPTURE(isa);
    const Doubles got = f().to_vector<double>();
    REQUIRE(got.size() == want.size());
    double worst = 0;
    for (std::size_t i = 0; i < got.size(); ++i)
      worst = worse(worst, std::fabs(got[i] - want[i]) / (eps * std::max(std::fabs(want[i]), 1e-3)));
    CHECK(worst <= ulps);
  });
}

// Calls f for all indices of a shape, in row-major order.
void for_each_index(const Shape& shape, const std::function<void(const std::vector<std::int64_t>&)>& f) {
  std::vector<std::int64_t> index(static_cast<std::size_t>(shape.rank()), 0);
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    f(index);
    for (int d = shape.rank() - 1; d >= 0; --d) {
      if (++index[static_cast<std::size_t>(d)] < shape[d]) break;
      index[static_cast<std::size_t>(d)] = 0;
    }
  }
}

// Returns the element of x at `index` of a shape to which x broadcasts.
template <class T> T element(const Tensor& x, const std::vector<std::int64_t>& index) {
  std::int64_t at = 0;
  const int extra = static_cast<int>(index.size()) - x.rank();
  for (int d = 0; d < x.rank(); ++d)
    if (x.dim(d) != 1) at += index[static_cast<std::size_t>(d + extra)] * x.strides()[d];
  return x.data<T>()[at];
}

void check_binary(const Tensor& left, const Tensor& right, const Shape& shape) {
  const Tensor y = sub(left, right).to(Device{}), a = left.to(Device{}), b = right.to(Device{});
  REQUIRE(y.shape() == shape);
  REQUIRE(y.is_contiguous());
  std::int64_t i = 0;
  bool equal = true;
  for_each_index(
      shape, [&](const auto& index) { equal = equal && y.data<double>()[i++] == element<double>(a, index) - element<double>(b, index); });
  CHECK(equal);
}


}  // namespace

TEST_CASE("element-wise operations and reductions agree, up to rounding, on every instruction set") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    UnaryOps::for_each([&]<class Op>(Op) {
      CAPTURE(std::string(op_name(Op{})));
      const Tensor x = sample_for<Op>({613}, 1, dtype), g = normal({613}, 2, dtype);
      const Tensor saved = saves_output<Op> ? map<Op>(x) : x;
      // GELU cancels for negative x (1 + erf), and e^(-2u) magnifies the rounding of u up to 17 times.
      const double ulps = std::is_same_v<Op, Gelu> || std::is_same_v<Op, GeluTanh> ? 512 : 32;
      same_on_every_isa(ulps, [&] { return map<Op>(x); });
      same_on_every_isa(4 * ulps, [&] { return map_slope<Op>(saved, g); });
      same_on_every_isa(16 * ulps, [&] { return map_curvature<Op>(x, g, g); });
      same_on_every_isa(4 * ulps, [&] {
        Tensor y, dy;
        map_dual<Op>(x, g, y, dy);
        return concat({y, dy}, 0);
      });
    });
    BinaryOps::for_each([&]<class Op>(Op) {
      CAPTURE(std::string(op_name(Op{})));
      const Tensor a = sample_for<Op>({613}, 3, dtype), b = sample_for<Op>({613}, 4, dtype);
      same_on_every_isa(1, [&] { return zip<Op>(a, b); });
      same_on_every_isa(1, [&] { return zip<Op>(a, b.slice(0, 7, 8)); });
      same_on_every_isa(1, [&] { return zip<Op>(a.slice(0, 7, 8), b); });
    });
    const Tensor x = normal({3, 613}, 5, dtype);
    same_on_every_isa(64, [&] { return sum(x, {1}); });
    same_on_every_isa(64, [&] { return sum(x, {0}); });
    same_on_every_isa(0, [&] { return max(x, 1); });
    same_on_every_isa(1024, [&] { return affine(x, 1.25, -0.5); });
  }
}

TEST_CASE("map, map_slope and map_dual agree exactly") {
  UnaryOps::for_each([]<class Op>(Op) {
    CAPTURE(std::string(op_name(Op{})));
    const Tensor x = sample_for<Op>({37}, 1), g = normal({37}, 2);
    Tensor y, dy;
    map_dual<Op>(x, g, y, dy);
    const Tensor slope = map_slope<Op>(saves_output<Op> ? y : x, g);
    CHECK(y.to_vector<double>() == map<Op>(x).template to_vector<double>());
    CHECK(dy.to_vector<double>() == slope.to_vector<double>());
  });
}

TEST_CASE("binary operations with broadcasting and strides agree with naive loops") {
  const Tensor x = normal({5, 7, 9}, 1), z = normal({9, 7, 5}, 2);
  each_isa([&](const std::string& isa) {
    CAPTURE(isa);
    check_binary(x, x, {5, 7, 9});
    check_binary(x, normal({9}, 3), {5, 7, 9});
    check_binary(normal({7, 1}, 3), x, {5, 7, 9});
    check_binary(normal({5, 1, 1}, 3), x, {5, 7, 9});
    check_binary(normal({5, 1, 9}, 3), normal({7, 1}, 4), {5, 7, 9});
    check_binary(normal({}, 3), x, {5, 7, 9});
    check_binary(normal({1}, 3), normal({1, 1}, 4), {1, 1});
    check_binary(x, z.permute({2, 1, 0}), {5, 7, 9});
    check_binary(x.transpose(1, 2), z.permute({2, 0, 1}), {5, 9, 7});
    check_binary(x.slice(2, 1, 8), normal({7}, 3), {5, 7, 7});
    check_binary(x.slice(1, 2, 5).transpose(0, 1), x.slice(1, 3, 6).transpose(0, 1), {3, 5, 9});
    check_binary(x.select(2, 3), x.select(2, 4), {5, 7});
    check_binary(normal({20011}, 5), normal({20011}, 6), {20011});           // several pieces
    check_binary(normal({3, 20011}, 5), normal({3, 1}, 6), {3, 20011});
    check_binary(normal({0, 3}, 5), normal({3}, 6), {0, 3});
  });
}

TEST_CASE("unary operations on views") {
  const Tensor x = normal({4, 6}, 1), t = x.transpose(0, 1);
  CHECK(exp(t).to_vector<double>() == exp(t.contiguous()).to_vector<double>());
  CHECK(exp(x.slice(1, 2, 5)).to_vector<double>() == exp(x).slice(1, 2, 5).to_vector<double>());
  CHECK(exp(Tensor::zeros({0, 3})).shape() == Shape{0, 3});
}

TEST_CASE("where and add_into") {
  const Tensor c = greater(normal({4, 3}, 1), Tensor::zeros({}, DType::f64)), a = normal({3}, 2), b = normal({4, 1}, 3);
  const Tensor y = where(c, a, b).to(Device{}), on = c.to(Device{}), left = a.to(Device{}), right = b.to(Device{});
  std::int64_t i = 0;
  for_each_index({4, 3}, [&](const auto& at) {
    CHECK(y.data<double>()[i++] == (element<double>(on, at) != 0 ? element<double>(left, at) : element<double>(right, at)));
  });
  Tensor sum_so_far = normal({5}, 4, DType::f32);
  const Tensor before = sum_so_far.clone(), x = normal({5}, 5, DType::f32);
  add_into(sum_so_far, x, 0.5);
  CHECK(max(abs(sum_so_far - (before + 0.5 * x)), 0).item() < 1e-6);
  CHECK_THROWS_AS(add_into(sum_so_far, normal({4}, 1)), ShapeError);
}

TEST_CASE("reductions agree with naive sums") {
  for (const Shape& shape :
       {Shape{1}, Shape{3, 5, 7}, Shape{2, 1, 33}, Shape{17, 1}, Shape{1, 129}, Shape{4, 3, 2, 5}, Shape{20011}, Shape{3, 4099}}) {
    const Tensor x = normal(shape, 1);
    for (unsigned mask = 0; mask < 1u << shape.rank(); ++mask) {
      std::vector<int> dims;
      Shape kept = shape;
      for (int d = 0; d < shape.rank(); ++d)
        if (mask >> d & 1u) {
          dims.push_back(d);
          kept[d] = 1;
        }
      Tensor want = Tensor::zeros(kept, DType::f64, Device{});
      const Tensor terms = x.to(Device{});
      std::int64_t i = 0;
      for_each_index(shape, [&](const auto& index) {
        std::int64_t at = 0;
        for (int d = 0; d < shape.rank(); ++d)
          if (kept[d] != 1) at += index[static_cast<std::size_t>(d)] * want.strides()[d];
        want.data<double>()[at] += terms.data<double>()[i++];
      });
      want = want.to(default_device());
      each_isa([&](const std::string& isa) {
    CAPTURE(isa);
        const Tensor y = sum(x, dims, true), y32 = sum(x.to(DType::f32), dims, true);
        REQUIRE(y.shape() == kept);
        CHECK(sum_squares(y - want) < 1e-20);
        CHECK(max(abs(y32.to(DType::f64) - want).reshape({-1}), 0).item() < 2e-6 * static_cast<double>(shape.numel()));
        CHECK(sum_squares(sum_to(x, kept) - want) < 1e-20);
        CHECK(sum(x, dims).numel() == want.numel());
      });
    }
  }
}

TEST_CASE("mean, max, argmax, all_finite") {
  const Tensor x = normal({5, 9, 3}, 1);
  CHECK(near(mean(x).item(), sum(x).item() / 135, 1e-14));
  for (int d = 0; d < 3; ++d) {
    const Tensor m = max(x, d, true), k = argmax(x, d);
    REQUIRE(m.shape() == x.shape().with(d, 1));
    REQUIRE(k.shape() == x.shape().without(d));
    CHECK(sum(greater(x, m)).item() == 0);
    CHECK(sum(equal(x, m)).item() == static_cast<double>(m.numel()));
    const Tensor flat_max = m.reshape({-1}).to(Device{}), flat_k = k.reshape({-1}).to(Device{}), from = x.to(Device{});
    std::int64_t i = 0;
    for_each_index(k.shape(), [&](const auto& at) {
      auto full = at;
      full.insert(full.begin() + d, flat_k.data<std::int64_t>()[i]);
      CHECK(element<double>(from, full) == flat_max.data<double>()[i++]);
    });
  }
  CHECK(argmax(Tensor::ones({4}), 0).to_vector<std::int64_t>()[0] == 0);
  CHECK(all_finite(x));
  for (const double bad : {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    const Tensor z = x.clone();
    z.select(0, 3).select(0, 2).slice(0, 1, 2).fill(bad);
    CHECK_FALSE(all_finite(z));
    CHECK_FALSE(all_finite(z.to(DType::f32)));
  }
  CHECK_THROWS_AS(max(Tensor::zeros({3, 0}), 1), ShapeError);
}

TEST_CASE("gather, scatter_add, one_hot") {
  const std::vector<std::int64_t> at = {4, 0, 4, 2};
  const Tensor x = normal({5, 3, 2}, 1), index = Tensor::from(at, {4}), y = gather(x, index), g = normal({4, 3, 2}, 2);
  for (std::int64_t i = 0; i < 4; ++i)
    CHECK(y.select(0, i).to_vector<double>() == x.select(0, at[static_cast<std::size_t>(i)]).to_vector<double>());
  CHECK(gather(x, index.to(DType::i32)).to_vector<double>() == y.to_vector<double>());
  CHECK(gather(x.transpose(0, 1), index.slice(0, 1, 2)).shape() == Shape{1, 5, 2});
  // scatter_add is the transpose of gather
  CHECK(near(sum(y * g).item(), sum(x * scatter_add(g, index, x.shape())).item(), 1e-14));
  const Tensor h = one_hot(index, 5, DType::f64);
  CHECK(sum(h).item() == 4);
  CHECK(argmax(h, 1).to_vector<std::int64_t>() == at);
  CHECK_THROWS_AS(gather(x, Tensor::from(std::vector<std::int64_t>{5}, {1})).to_vector<double>(), ShapeError);
  CHECK_THROWS_AS(gather(x, Tensor::from(std::vector<std::int64_t>{-1}, {1})).to_vector<double>(), ShapeError);
  CHECK_THROWS_AS(gather(x, Tensor::zeros({2})), DTypeError);
}

TEST_CASE("copy, concat, pad and views") {
  const Tensor x = normal({3, 4, 5}, 1), t = x.permute({2, 0, 1}), c = t.contiguous();
  const auto from = x.to_vector<double>(), to = c.to_vector<double>();
  std::int64_t i = 0;
  for_each_index(t.shape(), [&](const auto& at) { CHECK(to[static_cast<std::size_t>(i++)] == from[static_cast<std::size_t>((at[1] * 4 + at[2]) * 5 + at[0])]); });
  const Tensor joined = concat({x, normal({3, 2, 5}, 2), x}, 1);
  CHECK(joined.shape() == Shape{3, 10, 5});
  CHECK(joined.slice(1, 6, 10).to_vector<double>() == x.to_vector<double>());
  CHECK(joined.slice(1, 4, 6).to_vector<double>() == normal({3, 2, 5}, 2).to_vector<double>());
  const Tensor p = pad(x, -1, 2, 1);
  CHECK(p.shape() == Shape{3, 4, 8});
  CHECK(p.slice(2, 2, 7).to_vector<double>() == x.to_vector<double>());
  CHECK(near(sum(abs(p)).item(), sum(abs(x)).item(), 1e-14));
  CHECK(Shape{4, 5}.rows(3) == Shape{3, 4, 5});
  // A view shares memory; a reshape of a permuted tensor cannot be one.
  CHECK(x.reshape({12, 5}).shares_memory_with(x));
  CHECK(x.slice(0, 1, 3).reshape({2, 20}).shares_memory_with(x));
  CHECK_FALSE(t.reshape({60}).shares_memory_with(x));
  CHECK(t.reshape({60}).to_vector<double>() == c.to_vector<double>());
  CHECK(x.expand({2, 3, 4, 5}).select(0, 1).to_vector<double>() == x.to_vector<double>());
  const Tensor w = x.clone();
  w.slice(1, 1, 3).copy_from(Tensor::ones({2, 5}));
  CHECK(sum(w.slice(1, 1, 3)).item() == 30);
  CHECK(w.select(1, 0).to_vector<double>() == x.select(1, 0).to_vector<double>());
  CHECK_THROWS_AS(concat({x, normal({3, 4, 4}, 1)}, 1), ShapeError);
  CHECK_THROWS_AS(x.slice(0, 2, 4), ShapeError);
  CHECK_THROWS_AS(x.reshape({7, -1}), ShapeError);
  CHECK_THROWS_AS(x.expand({3, 4, 6}), ShapeError);
}

TEST_CASE("bf16 rounds to nearest even") {
  const std::vector<float> x = {1.0f, 1.00390625f, 1.01171875f, 1.0039064f, -1.00390625f, 3.3895314e38f, 3.4028235e38f, 1e-40f,
                                std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()};
  // 1 + 2^-8 is a tie and goes to the even 1.0; 1 + 3 2^-8 is a tie and goes to 1.015625; just above the first tie goes up.
  const std::vector<float> want = {1.0f, 1.0f, 1.015625f, 1.0078125f, -1.0f, 3.3895314e38f, std::numeric_limits<float>::infinity(),
                                   std::ldexp(1.0f, -133), std::numeric_limits<float>::infinity(), NAN};      // 2^-133: the smallest bf16
  const auto y = Tensor::from(x, {10}).to(DType::bf16).to_vector<float>();
  for (std::size_t i = 0; i < x.size(); ++i) {
    CAPTURE(x[i]);
    if (std::isnan(want[i])) CHECK(std::isnan(y[i]));
    else CHECK(y[i] == want[i]);
  }
  // Ops widen, compute in f32 and round once.
  const Tensor a = normal({33}, 1).to(DType::bf16), b = normal({33}, 2).to(DType::bf16);
  CHECK(mul(a, b).dtype() == DType::bf16);
  CHECK(mul(a, b).to_vector<float>() == mul(a.to(DType::f32), b.to(DType::f32)).to(DType::bf16).to_vector<float>());
  CHECK(exp(a).to_vector<float>() == exp(a.to(DType::f32)).to(DType::bf16).to_vector<float>());
}

TEST_CASE("wrong types give DTypeError; wrong shapes give ShapeError with both shapes in its message") {
  const Tensor f = Tensor::ones({3}), d = Tensor::ones({3}, DType::f64), i = Tensor::ones({3}, DType::i64);
  CHECK_THROWS_AS(f + d, DTypeError);
  CHECK_THROWS_AS(exp(i), DTypeError);
  CHECK_THROWS_AS(i + i, DTypeError);
  CHECK_THROWS_AS(sum(i), DTypeError);
  CHECK_THROWS_AS(f + Tensor::ones({4}), ShapeError);
  CHECK_THROWS_AS(exp(Tensor()), Error);
  CHECK_THROWS_AS(f.data<double>(), DTypeError);
  CHECK_THROWS_AS(f.item(), ShapeError);
  std::string message;
  try {
    (void)(f + Tensor::ones({4}));
  } catch (const ShapeError& e) {
    message = e.what();
  }
  CHECK(message.find("add") == 0);
  CHECK(message.find("[3]") != std::string::npos);
  CHECK(message.find("[4]") != std::string::npos);
}

TEST_CASE("bf16 operations give the rounded results of f32 operations, for contiguous, strided, broadcast and in-place operands") {
  const Tensor x = normal({3, 1501}, 3).to(DType::bf16), row = normal({1501}, 4).to(DType::bf16), column = normal({3, 1}, 5).to(DType::bf16);
  const auto wide = [](const Tensor& t) { return t.to(DType::f32); };
  const auto same = [&](const Tensor& got, const Tensor& expected) { CHECK(got.to_vector<float>() == expected.to(DType::bf16).to_vector<float>()); };
  same(silu(x), silu(wide(x)));
  same(map_slope<Silu>(x, x * 2), map_slope<Silu>(wide(x), wide(x * 2)));
  same(add(x, row), add(wide(x), wide(row)));
  same(mul(column, x), mul(wide(column), wide(x)));
  same(sub(x.transpose(0, 1), column.transpose(0, 1)), sub(wide(x).transpose(0, 1), wide(column).transpose(0, 1)));
  same(affine(x, 1.5, -2), affine(wide(x), 1.5, -2));
  Tensor y, dy, wide_y, wide_dy, sum = x.clone(), wide_sum = wide(x);
  map_dual<Silu>(x, x * 2, y, dy);
  map_dual<Silu>(wide(x), wide(x * 2), wide_y, wide_dy);
  same(y, wide_y);
  same(dy, wide_dy);
  add_into(sum, x, 0.25);
  add_into(wide_sum, wide(x), 0.25);
  same(sum, wide_sum);
}
