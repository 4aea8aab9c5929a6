// Row programs on a GPU against the CPU's: every entry of the tables, odd sizes, with and without optional arrays, modulations that are
// columns of wider matrices.
#include "tensor/kernels/cpu/rows.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/cuda/both.h"

using namespace fm::kernels;
using fm::test::Both;
using fm::test::gpu;
using fm::test::Side;
using Int = std::int64_t;

namespace {

constexpr Side sides[] = {Side::cpu, Side::gpu};

const RowKernels& kernels_of(Side side) { return side == Side::cpu ? fm::cpu::row_kernels() : gpu().rows; }

template <class T, class S>
const ActivationTable<T, S>& table(Side side) {
  if constexpr (std::is_same_v<S, fm::bf16>)
    return kernels_of(side).half;
  else
    return kernels_of(side).of<T>();
}

template <class T, class S, class X>
const StreamTable<T, S, X>& stream_table(Side side) {
  if constexpr (std::is_same_v<S, X>)
    return table<T, S>(side);
  else
    return kernels_of(side).half_on_f32;
}

template <class T>
const RowTable<T>& rows_of(Side side) {
  return kernels_of(side).of<T>();
}

// Calls f(T{}, S{}) for every table: it computes in T and stores in S.
template <class F>
void each_type(const F& f) {
  f(double{}, double{});
  f(float{}, float{});
  f(float{}, fm::bf16{});
}

// Calls f(T{}, S{}, X{}) for every table of functions on a residual stream, which has the type X.
template <class F>
void each_stream(const F& f) {
  f(double{}, double{}, double{});
  f(float{}, float{}, float{});
  f(float{}, fm::bf16{}, fm::bf16{});
  f(float{}, fm::bf16{}, float{});
}

struct Rows {
  Int rows, width, share;
  Int groups() const { return (rows + share - 1) / share; }
};
std::string describe(const Rows& s) {
  return std::to_string(s.rows) + " rows of " + std::to_string(s.width) + ", a modulation for " + std::to_string(s.share);
}

// Shapes for warps and blocks that are not full, groups that cross blocks, and more than one block of partial sums.
const std::vector<Rows> shapes{{1, 1, 1},   {5, 31, 1},   {9, 33, 3},   {70, 33, 7}, {37, 257, 1},
                               {9, 257, 9}, {20, 65, 10}, {66, 64, 11}, {40, 40, 13}};

struct Has {
  bool weight, bias, scale, shift;
};
const std::vector<Has> forms{{0, 0, 0, 0}, {1, 0, 0, 0}, {1, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 1, 1}, {1, 0, 1, 1}, {1, 1, 1, 1}};

// Bit i of `which`: whether optional array i is given.
bool bit(int which, int i) { return (which >> i & 1) != 0; }

template <class T, class S, class X>
struct NormCase {
  Rows shape;
  bool centered;
  Both<X> x;
  Both<S> scale, shift;
  Both<T> weight, bias, mean, rstd;

  NormCase(const Rows& s, bool centered_, const Has& has)
      : shape(s),
        centered(centered_),
        x(s.rows * s.width, 1),
        scale(s.groups() * ld(), 2, has.scale),
        shift(s.groups() * ld(), 3, has.shift),
        weight(s.width, 4, has.weight),
        bias(s.width, 5, has.bias),
        mean(s.rows, 6),
        rstd(s.rows, 7) {}

  Int ld() const { return 2 * shape.width + 3; }
  Int tangent_ld() const { return shape.width + 5; }
  fm::rows::Norm<T, S, X> args(Side side) {
    return {shape.rows,     shape.width,         T(1e-3),       x.on(side),   weight.on(side), bias.on(side), scale.on(side),
            shift.on(side), {shape.share, ld()}, mean.on(side), rstd.on(side)};
  }

  void value() {
    Both<S> y(shape.rows * shape.width, 8);
    for (const Side side : sides) {
      const auto& k = stream_table<T, S, X>(side);
      (centered ? k.layer_norm_value : k.rms_norm_value)(args(side), y.on(side));
    }
    FM_CHECK_SAME(y, S);
    FM_CHECK_SAME(rstd, T);
    if (centered) FM_CHECK_SAME(mean, T);
  }

  void push(int which) {
    CAPTURE(which);
    const Rows& s = shape;
    Both<X> dx(s.rows * s.width, 11, bit(which, 0));
    Both<S> dscale(s.groups() * tangent_ld(), 12, scale.on(Side::cpu) && bit(which, 1)),
        dshift(s.groups() * tangent_ld(), 13, shift.on(Side::cpu) && bit(which, 2)), dy(s.rows * s.width, 14);
    Both<T> dweight(s.width, 15, weight.on(Side::cpu) && bit(which, 3)), dbias(s.width, 16, bias.on(Side::cpu) && bit(which, 4));
    for (const Side side : sides) {
      const auto& k = stream_table<T, S, X>(side);
      (centered ? k.layer_norm_push : k.rms_norm_push)(
          args(side), {dx.on(side), dweight.on(side), dbias.on(side), dscale.on(side), dshift.on(side), tangent_ld(), dy.on(side)});
    }
    FM_CHECK_SAME(dy, S);
  }

  void pull(int which) {
    CAPTURE(which);
    const Rows& s = shape;
    Both<S> gy(s.rows * s.width, 21);
    Both<X> gx(s.rows * s.width, 22, bit(which, 0));
    Both<T> gscale(s.groups() * tangent_ld(), 23, scale.on(Side::cpu) && bit(which, 1)),
        gshift(s.groups() * tangent_ld(), 24, shift.on(Side::cpu) && bit(which, 2)),
        gweight(s.width, 25, weight.on(Side::cpu) && bit(which, 3)), gbias(s.width, 26, bias.on(Side::cpu) && bit(which, 4)),
        workspace(fm::rows::norm_workspace(s.rows, s.width, s.share), 27);
    for (const Side side : sides) {
      const auto& k = stream_table<T, S, X>(side);
      (centered ? k.layer_norm_pull : k.rms_norm_pull)(args(side), {gy.on(side), gx.on(side), gweight.on(side), gbias.on(side),
                                                                   gscale.on(side), gshift.on(side), tangent_ld(), workspace.on(side)});
    }
    FM_CHECK_SAME(gx, X);
    FM_CHECK_SAME(gscale, T);
    FM_CHECK_SAME(gshift, T);
    FM_CHECK_SAME(gweight, T);
    FM_CHECK_SAME(gbias, T);
  }
};

template <class T, class S, class X>
void check_norm(const Rows& s, bool centered, const Has& has, bool thorough) {
  INFO(describe(s) << ", centered " << centered << ", weight " << has.weight << ", bias " << has.bias << ", scale " << has.scale << ", shift "
                   << has.shift << ", " << sizeof(S) << " bytes beside " << sizeof(X));
  NormCase<T, S, X> c(s, centered, has);
  c.value();
  for (const int which : {31, 30, 1, 2, 4, 8, 16, 0}) {
    c.push(which);
    c.pull(which);
    if (!thorough && which == 30) break;
  }
}

}  // namespace

TEST_CASE("norms on a GPU equal the CPU's") {
  for (const Rows& s : shapes)
    for (const Has& has : forms)
      for (const bool centered : {true, false}) each_stream([&]<class T, class S, class X>(T, S, X) { check_norm<T, S, X>(s, centered, has, s.rows == 20); });
}

TEST_CASE("norms on a GPU: many rows, no rows and no columns") {
  // The number of rows matters only in pull, which sums over rows.
  for (const Rows& s : {Rows{4200, 3, 1}, Rows{4201, 2, 10}, Rows{300, 5, 100}})
    for (const bool centered : {true, false})
      each_stream([&]<class T, class S, class X>(T, S, X) {
        INFO(describe(s) << ", centered " << centered << ", " << sizeof(S) << " bytes beside " << sizeof(X));
        NormCase<T, S, X> c(s, centered, {true, true, true, true});
        c.pull(31);
      });
  each_type([&]<class T, class S>(T, S) {
    const auto& k = table<T, S>(Side::gpu);
    k.layer_norm_value({0, 8}, nullptr);
    k.rms_norm_value({8, 0}, nullptr);
    k.layer_norm_push({0, 8}, {});
    k.layer_norm_pull({0, 8}, {});
    k.rms_norm_pull({8, 0}, {});
    k.swiglu_value(0, 8, nullptr, nullptr);
    k.gated_pull({8, 0}, nullptr, nullptr, nullptr, 0);
    k.rope_value({}, nullptr, nullptr);
    fm::synchronise(fm::Device::cuda(0));
  });
}

TEST_CASE("SwiGLU on a GPU equals the CPU's") {
  for (const Rows& s : shapes)
    each_type([&]<class T, class S>(T, S) {
      INFO(describe(s) << ", " << sizeof(S) << " bytes");
      const Int n = s.rows * s.width;
      Both<S> x(2 * n, 1), dx(2 * n, 2), gy(n, 3), y(n, 4), dy(n, 5), gx(2 * n, 6);
      for (const Side side : sides) {
        const auto& k = table<T, S>(side);
        k.swiglu_value(s.rows, s.width, x.on(side), y.on(side));
        k.swiglu_push(s.rows, s.width, x.on(side), dx.on(side), dy.on(side));
        k.swiglu_pull(s.rows, s.width, x.on(side), gy.on(side), gx.on(side));
      }
      FM_CHECK_SAME(y, S);
      FM_CHECK_SAME(dy, S);
      FM_CHECK_SAME(gx, S);
    });
}

TEST_CASE("gated residuals on a GPU equal the CPU's") {
  for (const Rows& s : shapes)
    each_stream([&]<class T, class S, class X>(T, S, X) {
      const Int n = s.rows * s.width, ld = 3 * s.width + 1, tangent_ld = s.width + 2;
      for (int which = 0; which < 8; ++which) {
        INFO(describe(s) << ", " << sizeof(S) << " bytes beside " << sizeof(X) << ", operands " << which);
        Both<X> x(n, 1), dx(n, 4, bit(which, 0)), gy(n, 7), y(n, 9), dy(n, 10);
        Both<S> h(n, 2), gate(s.groups() * ld, 3), dh(n, 5, bit(which, 1)), dgate(s.groups() * tangent_ld, 6, bit(which, 2)),
            gh(n, 8, bit(which, 0));
        Both<T> ggate(s.groups() * tangent_ld, 11, bit(which, 1));
        for (const Side side : sides) {
          const auto& k = stream_table<T, S, X>(side);
          const fm::rows::Gated<S, X> a{s.rows, s.width, x.on(side), h.on(side), gate.on(side), {s.share, ld}};
          k.gated_value(a, y.on(side));
          k.gated_push(a, dx.on(side), dh.on(side), dgate.on(side), tangent_ld, dy.on(side));
          k.gated_pull(a, gy.on(side), gh.on(side), ggate.on(side), tangent_ld);
        }
        FM_CHECK_SAME(y, X);
        FM_CHECK_SAME(dy, X);
        FM_CHECK_SAME(gh, S);
        FM_CHECK_SAME(ggate, T);
      }
    });
}

TEST_CASE("rotations on a GPU equal the CPU's, also in place") {
  struct Shape {
    Int batch, tokens, parts, rotated, heads, dim;
  };
  for (const Shape s : {Shape{1, 1, 3, 2, 1, 2}, {2, 5, 3, 2, 3, 10}, {1, 3, 3, 3, 2, 66}, {2, 2, 1, 1, 1, 64}, {1, 4, 2, 0, 2, 6}})
    each_type([&]<class T, class S>(T, S) {
      CAPTURE(s.dim);
      const Int n = s.batch * s.tokens * s.parts * s.heads * s.dim;
      Both<T> cosine(s.tokens * s.dim, 1), sine(s.tokens * s.dim, 2);
      Both<S> x(n, 3), y(n, 4), gx(n, 5), turned(n, 6);
      for (const Side side : sides) {
        const fm::rows::Rope<T> a{s.batch, s.tokens, s.parts, s.rotated, s.heads, s.dim, cosine.on(side), sine.on(side)};
        const auto& k = table<T, S>(side);
        k.rope_value(a, x.on(side), y.on(side));
        k.rope_pull(a, x.on(side), gx.on(side));
        k.rope_value(a, turned.on(side), turned.on(side));
        k.rope_pull(a, x.on(side), x.on(side));
      }
      for (Both<S>* array : {&x, &y, &gx, &turned}) FM_CHECK_SAME(*array, S);
    });
}

namespace {

template <class T>
void check_softmax(const Rows& s) {
  INFO(describe(s) << ", " << sizeof(T) << " bytes");
  const Int n = s.rows * s.width;
  Both<T> x(n, 1), d(n, 2), y(n, 3), dy(n, 4), gx(n, 5), log_y(n, 6), log_dy(n, 7), log_gx(n, 8), in_place(n, 9);
  for (const Side side : sides) {
    const auto& k = rows_of<T>(side);
    k.softmax_value(s.rows, s.width, x.on(side), y.on(side));
    k.softmax_push(s.rows, s.width, y.on(side), d.on(side), dy.on(side));
    k.softmax_pull(s.rows, s.width, y.on(side), d.on(side), gx.on(side));
    k.log_softmax_value(s.rows, s.width, x.on(side), log_y.on(side));
    k.log_softmax_push(s.rows, s.width, log_y.on(side), d.on(side), log_dy.on(side));
    k.log_softmax_pull(s.rows, s.width, log_y.on(side), d.on(side), log_gx.on(side));
    k.softmax_pull(s.rows, s.width, y.on(side), in_place.on(side), in_place.on(side));
  }
  for (Both<T>* array : {&y, &dy, &gx, &log_y, &log_dy, &log_gx, &in_place}) FM_CHECK_SAME(*array, T);
}

template <class T>
void check_cross_entropy(const Rows& s, bool soft) {
  INFO(describe(s) << ", soft labels " << soft << ", " << sizeof(T) << " bytes");
  const Int n = s.rows * s.width;
  std::vector<Int> classes;
  for (Int r = 0; r < s.rows; ++r) classes.push_back(r * 7 % s.width);
  Both<Int> labels(classes);
  Both<T> x(n, 1), p(n, 2, soft), dx(n, 3), gloss(s.rows, 4), top(s.rows, 5), loss(s.rows, 6), dloss(s.rows, 7), gx(n, 8), sum(s.rows, 9);
  for (const Side side : sides) {
    const fm::rows::CrossEntropy<T> a{s.rows, s.width, x.on(side), soft ? nullptr : labels.on(side), p.on(side), top.on(side), sum.on(side)};
    const auto& k = rows_of<T>(side);
    k.cross_entropy_value(a, loss.on(side));
    k.cross_entropy_push(a, dx.on(side), dloss.on(side));
    k.cross_entropy_pull(a, gloss.on(side), gx.on(side));
  }
  for (Both<T>* array : {&top, &sum, &loss, &dloss, &gx}) FM_CHECK_SAME(*array, T);
}

}  // namespace

TEST_CASE("softmax, log-softmax and cross-entropy on a GPU equal the CPU's") {
  for (const Rows& s : shapes) {
    check_softmax<float>(s);
    check_softmax<double>(s);
    for (const bool soft : {false, true}) {
      check_cross_entropy<float>(s, soft);
      check_cross_entropy<double>(s, soft);
    }
  }
}

// The GPU checks the labels, and the caller gets the error of a bad label only when it waits. Until then no kernel may read memory at that label.
TEST_CASE("cross-entropy on a GPU: the loss of a class out of range is NaN; the other losses are finite") {
  Both<float> x(3 * 5, 1), dx(3 * 5, 2), top(3, 3), loss(3, 4), dloss(3, 5), sum(3, 6);
  for (const Int bad : {Int(-1), Int(5), Int(1) << 50}) {
    Both<Int> labels(std::vector<Int>{2, bad, 4});
    const fm::rows::CrossEntropy<float> a{3, 5, x.on(Side::gpu), labels.on(Side::gpu), nullptr, top.on(Side::gpu), sum.on(Side::gpu)};
    rows_of<float>(Side::gpu).cross_entropy_value(a, loss.on(Side::gpu));
    rows_of<float>(Side::gpu).cross_entropy_push(a, dx.on(Side::gpu), dloss.on(Side::gpu));
    for (Both<float>* array : {&loss, &dloss}) {
      const std::vector<float> y = array->gpu_values();
      CHECK(std::isfinite(y[0]));
      CHECK(std::isnan(y[1]));
      CHECK(std::isfinite(y[2]));
    }
  }
}
