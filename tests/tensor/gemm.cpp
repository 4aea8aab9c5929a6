// Every matrix product of every instruction set against plain loops in double (gemm_reference.h), the wide tiles of AVX-512 also on
// machines without it (the same templates, compiled for this machine), and independence of the number of threads, bit for bit.
#include "tensor/kernels/cpu/gemm.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "tensor/kernels/cpu/gemm_reference.h"
#include "tests/support/kernel_check.h"
#include "tests/support/near.h"

#define FM_ISA wide
#include "tensor/kernels/cpu/gemm_batch.h"

namespace {

using fm::cpu::GemmArgs;
using fm::cpu::RoundedFloat;
using fm::test::each_isa;
using fm::test::near;
using Int = std::int64_t;

template <class T>
T make_value(float x) {
  if constexpr (std::is_same_v<T, std::uint16_t>) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return T(bits >> 16);
  } else if constexpr (std::is_same_v<T, RoundedFloat>) {
    return {x};
  } else {
    return T(x);
  }
}

template <class T>
std::vector<T> random_values(Int count, unsigned seed) {
  std::vector<T> values;
  for (float x : fm::test::random_array<float>(count, seed)) values.push_back(make_value<T>(x));
  return values;
}

struct Case {
  Int m, n, k;
  bool ta = false, tb = false;
  Int batch = 1;
  bool share_a = false, share_b = false;
  bool bias = false, accumulate = false;
  double alpha = 1;
  Int pad_a = 0, pad_b = 0, pad_c = 0;     // added to the leading dimensions
  Int gap = 0;                             // between the products of a batch
};

std::string describe(const Case& s) {
  return "m=" + std::to_string(s.m) + " n=" + std::to_string(s.n) + " k=" + std::to_string(s.k) + " ta=" + std::to_string(s.ta) +
         " tb=" + std::to_string(s.tb) + " batch=" + std::to_string(s.batch) + " bias=" + std::to_string(s.bias) +
         " accumulate=" + std::to_string(s.accumulate);
}

// Operands of a case, and C before the product, with a guard value everywhere that C does not cover.
template <class In, class Out, class InB = In>
struct Problem {
  std::vector<In> a;
  std::vector<InB> b;
  std::vector<Out> c, bias;
  GemmArgs<In, Out, InB> args;

  explicit Problem(const Case& s) {
    const Int lda = (s.ta ? s.m : s.k) + s.pad_a, ldb = (s.tb ? s.k : s.n) + s.pad_b, ldc = s.n + s.pad_c;
    const Int size_a = (s.ta ? s.k : s.m) * lda, size_b = (s.tb ? s.n : s.k) * ldb, size_c = s.m * ldc + s.gap;
    a = random_values<In>(size_a * (s.share_a ? 1 : s.batch), 1);
    b = random_values<InB>(size_b * (s.share_b ? 1 : s.batch), 2);
    c = random_values<Out>(size_c * s.batch, 3);
    bias = random_values<Out>(s.n, 4);
    args = {s.m, s.n, s.k, a.data(), lda, s.ta, b.data(), ldb, s.tb, c.data(), ldc};
    args.batch = s.batch;
    args.stride_a = s.share_a ? 0 : size_a;
    args.stride_b = s.share_b ? 0 : size_b;
    args.stride_c = size_c;
    args.bias = s.bias ? bias.data() : nullptr;
    args.accumulate = s.accumulate;
    args.alpha = s.alpha;
  }
};

// Runs `product` and compares: inside C with the reference, outside of it with the old contents.
template <class In, class Out, class InB = In, class F>
void check(const Case& s, const F& product) {
  INFO(describe(s));
  Problem<In, Out, InB> p(s);
  const std::size_t count = static_cast<std::size_t>(s.batch * s.m * s.n);
  std::vector<double> want(count), scale(count);
  fm::cpu::gemm_reference(p.args, want.data(), scale.data());
  const std::vector<Out> before = p.c;
  product(p.args);
  const bool wide = std::is_same_v<In, double>;
  const double eps = wide ? std::numeric_limits<double>::epsilon() : double(std::numeric_limits<float>::epsilon());
  const double rounding = std::is_same_v<Out, std::uint16_t> ? 1.0 / 256 : 0;
  std::vector<char> covered(p.c.size(), 0);
  Int bad = 0;
  for (Int q = 0; q < s.batch; ++q)
    for (Int i = 0; i < s.m; ++i)
      for (Int j = 0; j < s.n; ++j) {
        const Int at = q * p.args.stride_c + i * p.args.ldc + j, w = (q * s.m + i) * s.n + j;
        covered[std::size_t(at)] = 1;
        const double error = std::fabs(fm::cpu::reference_value(p.c[std::size_t(at)]) - want[std::size_t(w)]);
        const double allowed = scale[std::size_t(w)] * eps * (4 + std::sqrt(double(s.k))) + rounding * std::fabs(want[std::size_t(w)]);
        bad += !(error <= allowed + (rounding > 0 ? 1e-30 : 0));
      }
  CHECK(bad == 0);
  Int touched = 0;
  for (std::size_t i = 0; i < p.c.size(); ++i) touched += !covered[i] && p.c[i] != before[i];
  CHECK(touched == 0);
}

// Checks a case with all types, and with the tiles of AVX-512.
void check_all(const Case& s) {
  using namespace fm::cpu::wide;
  each_isa([&](const std::string& isa) {
    CAPTURE(isa);
    check<float, float>(s, fm::cpu::gemm_kernels().f32);
    check<double, double>(s, fm::cpu::gemm_kernels().f64);
    check<std::uint16_t, float>(s, fm::cpu::gemm_kernels().bf16);
    check<std::uint16_t, std::uint16_t>(s, fm::cpu::gemm_kernels().bf16_out);
    check<std::uint16_t, float, RoundedFloat>(s, fm::cpu::gemm_kernels().bf16_rounding);
    check<std::uint16_t, std::uint16_t, RoundedFloat>(s, fm::cpu::gemm_kernels().bf16_rounding_out);
  });
  INFO("tiles of AVX-512");
  check<float, float>(s, [](const auto& g) { gemm<FmaTile<float, 64, 12, 2>>(g); });
  check<double, double>(s, [](const auto& g) { gemm<FmaTile<double, 64, 12, 2>>(g); });
  check<std::uint16_t, float>(s, [](const auto& g) { gemm<PairTile<64, 12, 2, false>>(g); });
  check<std::uint16_t, std::uint16_t>(s, [](const auto& g) { gemm<PairTile<64, 12, 2, false>>(g); });
  check<std::uint16_t, float, RoundedFloat>(s, [](const auto& g) { gemm<PairTile<64, 12, 2, false>>(g); });
}

template <class F>
void for_each_transposition(const F& f) {
  for (int t = 0; t < 4; ++t) f((t & 1) != 0, (t & 2) != 0);
}

}  // namespace

TEST_CASE("gemm: sizes just below, at and above the tile sizes, with all transpositions") {
  for (Int m : {1, 2, 5, 6, 7, 12, 13, 31})
    for (Int n : {1, 4, 15, 16, 17, 33, 40})
      for (Int k : {1, 2, 3, 8, 21})
        for_each_transposition(
            [&](bool ta, bool tb) { check_all({.m = m, .n = n, .k = k, .ta = ta, .tb = tb, .pad_a = 3, .pad_b = 1, .pad_c = 2}); });
}

TEST_CASE("gemm: sizes beyond one block, with all transpositions") {
  for_each_transposition([](bool ta, bool tb) {
    check_all({.m = 257, .n = 18, .k = 260, .ta = ta, .tb = tb, .bias = true});
    check_all({.m = 300, .n = 35, .k = 37, .ta = ta, .tb = tb, .accumulate = true, .pad_c = 5});
    check_all({.m = 19, .n = 70, .k = 515, .ta = ta, .tb = tb, .bias = true, .accumulate = true, .alpha = 0.5});
    check_all({.m = 31, .n = 45, .k = 1024, .ta = ta, .tb = tb});                       // the distance of rows is a multiple of the page size
    check_all({.m = 300, .n = 300, .k = 37, .ta = ta, .tb = tb});                       // enough columns that A is copied
  });
}

TEST_CASE("gemm: bias, accumulate and alpha") {
  for (bool bias : {false, true})
    for (bool accumulate : {false, true})
      for (double alpha : {1.0, -0.37}) {
        check_all({.m = 23, .n = 37, .k = 300, .tb = true, .bias = bias, .accumulate = accumulate, .alpha = alpha, .pad_c = 1});
        check_all({.m = 23, .n = 37, .k = 0, .bias = bias, .accumulate = accumulate, .alpha = alpha, .pad_c = 1});
      }
}

TEST_CASE("gemm: batches, shared operands, empty products") {
  for_each_transposition([](bool ta, bool tb) {
    check_all({.m = 17, .n = 19, .k = 23, .ta = ta, .tb = tb, .batch = 5, .bias = true, .gap = 7});
    check_all({.m = 64, .n = 48, .k = 33, .ta = ta, .tb = tb, .batch = 9, .accumulate = true});
    check_all({.m = 17, .n = 19, .k = 23, .ta = ta, .tb = tb, .batch = 4, .share_a = true});
    check_all({.m = 17, .n = 19, .k = 23, .ta = ta, .tb = tb, .batch = 4, .share_b = true, .bias = true, .pad_a = 2});
    check_all({.m = 17, .n = 19, .k = 0, .ta = ta, .tb = tb, .batch = 3, .bias = true, .accumulate = true});
  });
  check_all({.m = 0, .n = 5, .k = 3});
  check_all({.m = 5, .n = 0, .k = 3});
  check_all({.m = 5, .n = 4, .k = 3, .batch = 0});
}

TEST_CASE("gemm: a long inner dimension, summed in several parts") {
  for_each_transposition([](bool ta, bool tb) {
    check_all({.m = 9, .n = 20, .k = 8192 + 13, .ta = ta, .tb = tb, .bias = true, .accumulate = true, .alpha = 2, .pad_c = 3});
  });
  check_all({.m = 3, .n = 2, .k = 40001, .ta = true, .batch = 2, .share_a = true});
}

TEST_CASE("gemm: sum over a batch with stride 0") {
  Problem<float, float> p(Case{.m = 20, .n = 35, .k = 40, .batch = 6, .accumulate = true});
  std::vector<double> want(20 * 35, 0), each(6 * 20 * 35);
  for (std::size_t i = 0; i < want.size(); ++i) want[i] = double(p.c[i]);
  p.args.accumulate = false;
  fm::cpu::gemm_reference(p.args, each.data());
  for (std::size_t i = 0; i < each.size(); ++i) want[i % want.size()] += each[i];
  p.args.accumulate = true;
  p.args.stride_c = 0;
  fm::cpu::gemm_kernels().f32(p.args);
  for (std::size_t i = 0; i < want.size(); ++i) CHECK(near(double(p.c[i]), want[i], 1e-4));
}

TEST_CASE("gemm: NaN and infinity pass through") {
  Problem<float, float> p(Case{.m = 7, .n = 18, .k = 5});
  p.a[2 * 5 + 1] = std::numeric_limits<float>::quiet_NaN();
  p.a[3 * 5 + 4] = std::numeric_limits<float>::infinity();
  fm::cpu::gemm_kernels().f32(p.args);
  for (Int j = 0; j < 18; ++j) {
    CHECK(std::isnan(p.c[std::size_t(2 * 18 + j)]));
    CHECK(!std::isfinite(p.c[std::size_t(3 * 18 + j)]));
    CHECK(std::isfinite(p.c[std::size_t(4 * 18 + j)]));
  }
}

TEST_CASE("gemm: a rounded weight's NaN and infinity pass through") {
  Problem<std::uint16_t, float, RoundedFloat> p(Case{.m = 3, .n = 18, .k = 40, .tb = true});
  p.b[5 * 40 + 1].value = std::bit_cast<float>(0x7f800001u);              // a NaN whose upper half alone would be infinity
  p.b[6 * 40 + 9].value = std::numeric_limits<float>::infinity();
  p.b[7 * 40 + 39].value = std::numeric_limits<float>::max();             // rounds up to infinity
  fm::cpu::gemm_kernels().bf16_rounding(p.args);
  for (Int j = 0; j < 18; ++j) {
    CHECK(std::isnan(p.c[std::size_t(j)]) == (j == 5));
    CHECK(std::isfinite(p.c[std::size_t(j)]) == (j < 5 || j > 7));
  }
}

TEST_CASE("gemm: results do not depend on the number of threads") {
  const int before = omp_get_max_threads();
  const auto equal = [](const Case& s, auto kind, auto product) {
    using Args = decltype(kind);
    using In = std::remove_cv_t<std::remove_pointer_t<decltype(Args::a)>>;
    using InB = std::remove_cv_t<std::remove_pointer_t<decltype(Args::b)>>;
    using Out = std::remove_pointer_t<decltype(Args::c)>;
    INFO(describe(s));
    Problem<In, Out, InB> one(s);
    omp_set_num_threads(1);
    product(one.args);
    for (int threads : {2, 3, 5}) {
      Problem<In, Out, InB> many(s);
      omp_set_num_threads(threads);
      product(many.args);
      CHECK(std::memcmp(one.c.data(), many.c.data(), one.c.size() * sizeof(Out)) == 0);
    }
  };
  each_isa([&](const std::string& isa) {
    CAPTURE(isa);
    for_each_transposition([&](bool ta, bool tb) {
      for (const Case& s : {Case{.m = 511, .n = 131, .k = 300, .ta = ta, .tb = tb, .bias = true, .alpha = 0.3},
                            Case{.m = 61, .n = 300, .k = 517, .ta = ta, .tb = tb, .accumulate = true},
                            Case{.m = 200, .n = 13, .k = 300, .ta = ta, .tb = tb, .bias = true},
                            Case{.m = 11, .n = 21, .k = 9001, .ta = ta, .tb = tb, .bias = true, .alpha = 0.7},
                            Case{.m = 50, .n = 34, .k = 41, .ta = ta, .tb = tb, .batch = 23, .alpha = 0.7}}) {
        equal(s, GemmArgs<float, float>{}, fm::cpu::gemm_kernels().f32);
        equal(s, GemmArgs<double, double>{}, fm::cpu::gemm_kernels().f64);
        equal(s, GemmArgs<std::uint16_t, float>{}, fm::cpu::gemm_kernels().bf16);
        equal(s, GemmArgs<std::uint16_t, std::uint16_t>{}, fm::cpu::gemm_kernels().bf16_out);
        equal(s, GemmArgs<std::uint16_t, float, RoundedFloat>{}, fm::cpu::gemm_kernels().bf16_rounding);
      }
    });
  });
  omp_set_num_threads(before);
}
