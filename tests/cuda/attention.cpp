// Attention on a GPU against the CPU's: value, tangent and gradients, heads of any width, sequences that do not fill tiles, packed and
// permuted operands, with and without optional arrays.
#include "tensor/kernels/cpu/attention.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "tensor/error.h"
#include "tests/cuda/both.h"

using namespace fm::kernels;
using fm::test::Both;
using fm::test::gpu;
using fm::test::Side;
using Int = std::int64_t;

namespace {

constexpr Side sides[] = {Side::cpu, Side::gpu};

template <class T>
const AttentionTable<T>& table(Side side) {
  return (side == Side::cpu ? fm::cpu::attention_kernels() : gpu().attention).of<T>();
}

struct Sizes {
  Int batch, heads, queries, keys, dim;
};
std::string describe(const Sizes& s) {
  return std::to_string(s.batch) + " x " + std::to_string(s.heads) + " heads, " + std::to_string(s.queries) + " queries, " +
         std::to_string(s.keys) + " keys, width " + std::to_string(s.dim);
}

// (B, N, H, D) with `gap` elements between tokens.
template <class T>
struct Operand {
  Both<T> values;
  Int batch, token, dim;

  Operand(const Sizes& s, Int n, Int gap, unsigned seed, bool wanted = true)
      : values(s.batch * n * (s.heads * s.dim + gap), seed, wanted),
        batch(n * (s.heads * s.dim + gap)),
        token(s.heads * s.dim + gap),
        dim(s.dim) {}
  Heads<T> on(Side side) { return {values.on(side), batch, dim, token}; }
  Heads<const T> read(Side side) { return {values.on(side), batch, dim, token}; }
};

template <class T>
struct Problem {
  Sizes s;
  T scale;
  Operand<T> q, k, v, o;
  Both<T> sums;

  Problem(const Sizes& sizes, double sharpness)
      : s(sizes),
        scale(static_cast<T>(sharpness / std::sqrt(static_cast<double>(s.dim)))),
        q(s, s.queries, 3, 1),
        k(s, s.keys, 0, 2),
        v(s, s.keys, 5, 3),
        o(s, s.queries, 1, 4),
        sums(2 * s.batch * s.heads * s.queries, 5) {}

  Attention<T> args(Side side) {
    return {s.batch, s.heads, s.queries, s.keys, s.dim, scale, q.read(side), k.read(side), v.read(side), o.on(side), sums.on(side)};
  }

  void forward() {
    for (const Side side : sides) table<T>(side).forward(args(side));
    FM_CHECK_SAME(o.values, T);
    FM_CHECK_SAME(sums, T);
    for (const Side side : sides) {
      Attention<T> a = args(side);
      a.sums = nullptr;
      table<T>(side).forward(a);
    }
    FM_CHECK_SAME(o.values, T);
  }
  void tangent(int which) {
    CAPTURE(which);
    Operand<T> dq(s, s.queries, 2, 11, which & 1), dk(s, s.keys, 0, 12, which & 2), dv(s, s.keys, 7, 13, which & 4),
        d_o(s, s.queries, 1, 14);
    for (const Side side : sides) table<T>(side).forward_tangent(args(side), {dq.read(side), dk.read(side), dv.read(side), d_o.on(side)});
    FM_CHECK_SAME(o.values, T);
    FM_CHECK_SAME(sums, T);
    FM_CHECK_SAME(d_o.values, T);
  }
  // Uses the tensors that forward saved.
  void backward(int which) {
    CAPTURE(which);
    Operand<T> go(s, s.queries, 1, 21), gq(s, s.queries, 2, 22, which & 1), gk(s, s.keys, 0, 23, which & 2),
        gv(s, s.keys, 7, 24, which & 4);
    for (const Side side : sides) table<T>(side).backward(args(side), {go.read(side), gq.on(side), gk.on(side), gv.on(side)});
    FM_CHECK_SAME(gq.values, T);
    FM_CHECK_SAME(gk.values, T);
    FM_CHECK_SAME(gv.values, T);
  }
};

template <class T>
void check(const Sizes& s, bool thorough, double sharpness = 1) {
  INFO(describe(s) << ", " << sizeof(T) << " bytes, sharpness " << sharpness);
  Problem<T> p(s, sharpness);
  p.forward();
  for (int which = thorough ? 0 : 7; which < 8; ++which) {
    p.tangent(which);
    p.backward(which);
  }
}

}  // namespace

TEST_CASE("attention on a GPU equals the CPU's") {
  for (const Sizes& s :
       {Sizes{1, 1, 1, 1, 1}, {2, 3, 5, 7, 3}, {1, 2, 33, 65, 31}, {2, 1, 64, 32, 33}, {1, 1, 31, 1, 64}, {1, 1, 1, 257, 20}}) {
    check<float>(s, s.dim < 32);
    check<double>(s, s.dim < 32);
  }
}

TEST_CASE("attention on a GPU: head widths at and beside every limit between two code paths") {
  for (const Int dim : {8, 32, 64, 65, 72, 96, 97, 127, 128, 129, 192, 193, 255, 256}) {
    check<float>({1, 2, 35, 37, dim}, false);
    check<double>({1, 1, 17, 34, dim}, false);
  }
}

TEST_CASE("attention on a GPU: each row has one probability near 1, and the largest score changes from tile to tile") {
  check<double>({1, 2, 40, 130, 16}, false, 200);
  check<double>({1, 1, 10, 70, 80}, false, 1000);
}

// A row beyond the end, read by mistake, would have the score 0, far above all others.
TEST_CASE("attention on a GPU: all scores are far below zero, and tiles are only partly filled") {
  const Int N = 35, D = 8;
  Both<double> q(std::vector<double>(N * D, 10)), k(std::vector<double>(N * D, -10)), v(N * D, 1), o(N * D, 2), go(N * D, 3),
      g(3 * N * D, 4), sums(2 * N, 5);
  for (const Side side : sides) {
    const auto read = [&](Both<double>& x) { return Heads<const double>{x.on(side), 0, 0, D}; };
    const auto part = [&](Int i) { return Heads<double>{g.on(side) + i * N * D, 0, 0, D}; };
    const Attention<double> a{1, 1, N, N, D, 1, read(q), read(k), read(v), {o.on(side), 0, 0, D}, sums.on(side)};
    table<double>(side).forward(a);
    table<double>(side).backward(a, {read(go), part(0), part(1), part(2)});
  }
  for (Both<double>* array : {&o, &sums, &g}) FM_CHECK_SAME(*array, double);
}

TEST_CASE("attention on a GPU: a packed qkv tensor and its gradient, with heads before or after tokens") {
  const Int B = 2, N = 37, H = 3, D = 9, row = 3 * H * D;
  Both<float> qkv(B * N * row, 1), d(B * N * row, 2), g(B * N * row, 3), o(B * H * N * D, 4), d_o(B * H * N * D, 5), go(B * H * N * D, 6),
      sums(2 * B * H * N, 7);
  for (const Side side : sides) {
    const auto part = [&](Both<float>& x, Int i) { return Heads<float>{x.on(side) + i * H * D, N * row, D, row}; };
    const auto read = [&](Both<float>& x, Int i) { return Heads<const float>{x.on(side) + i * H * D, N * row, D, row}; };
    const auto by_head = [&](Both<float>& x) { return Heads<float>{x.on(side), H * N * D, N * D, D}; };
    const Attention<float> a{B, H, N, N, D, 0.3f, read(qkv, 0), read(qkv, 1), read(qkv, 2), by_head(o), sums.on(side)};
    table<float>(side).forward_tangent(a, {read(d, 0), read(d, 1), read(d, 2), by_head(d_o)});
    table<float>(side).backward(a, {{go.on(side), H * N * D, N * D, D}, part(g, 0), part(g, 1), part(g, 2)});
  }
  for (Both<float>* array : {&o, &d_o, &g, &sums}) FM_CHECK_SAME(*array, float);
}

TEST_CASE("attention on a GPU: an empty batch, no queries, and heads that are too wide") {
  Both<double> none(1, 1), keys(4 * 3, 3), gk(4 * 3, 2);
  const Attention<double> empty{0, 2, 3, 4, 5, 1, {}, {}, {}, {}, nullptr};
  table<double>(Side::gpu).forward(empty);
  table<double>(Side::gpu).forward_tangent(empty, {});
  table<double>(Side::gpu).backward(empty, {});
  // Without queries the gradient of the keys is 0.
  const Heads<double> g{gk.on(Side::gpu), 0, 0, 3};
  const Heads<const double> x{keys.on(Side::gpu), 0, 0, 3};
  table<double>(Side::gpu).backward({1, 1, 0, 4, 3, 1, x, x, x, {}, nullptr}, {{}, {}, g, {}});
  for (const double y : gk.gpu_values()) CHECK(y == 0);
  const Attention<float> wide{1, 1, 1, 1, 257, 1, {}, {}, {}, {}, nullptr};
  CHECK_THROWS_WITH_AS(table<float>(Side::gpu).forward(wide), doctest::Contains("257"), fm::DeviceError);
  CHECK_THROWS_AS(table<float>(Side::gpu).forward_tangent(wide, {}), fm::DeviceError);
  CHECK_THROWS_AS(table<float>(Side::gpu).backward(wide, {}), fm::DeviceError);
}
