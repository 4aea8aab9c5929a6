// Matrix products and convolutions on a GPU against those of the CPU: f32 to 1e-5 and f64 to 1e-12 of the sums of absolute values, bf16 to
// its rounding.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "tensor/error.h"
#include "tensor/kernels/cpu/conv.h"
#include "tensor/kernels/cpu/gemm_reference.h"
#include "tensor/kernels/cuda/precision.h"
#include "tests/cuda/on_gpu.h"
#include "tests/support/kernel_check.h"

namespace {

using namespace fm::kernels;
using fm::cpu::reference_value;
using fm::test::gpu;
using fm::test::OnGpu;
using Int = std::int64_t;
using Half = std::uint16_t;

template <class T>
std::vector<T> random_values(Int count, unsigned seed) {
  std::vector<T> values;
  for (float x : fm::test::random_array<float>(count, seed)) {
    if constexpr (std::is_same_v<T, Half>)
      values.push_back(fm::bf16(x).bits);
    else
      values.push_back(T{x});
  }
  return values;
}

struct Case {
  Int m, n, k;
  bool ta = false, tb = false;
  Int batch = 1;
  bool share_a = false, share_b = false, share_c = false;
  bool bias = false, accumulate = false;
  double alpha = 1;
  Int pad = 0;             // elements added to each leading dimension
  Int gap = 0;             // elements between the matrices of two products of a batch
  std::size_t offset = 0;  // elements between the beginning of a block and its operand
};

std::string describe(const Case& s) {
  return "m=" + std::to_string(s.m) + " n=" + std::to_string(s.n) + " k=" + std::to_string(s.k) + " ta=" + std::to_string(s.ta) +
         " tb=" + std::to_string(s.tb) + " batch=" + std::to_string(s.batch) + " bias=" + std::to_string(s.bias) +
         " accumulate=" + std::to_string(s.accumulate) + " alpha=" + std::to_string(s.alpha) + " offset=" + std::to_string(s.offset);
}

// The allowed error, relative to the sum of absolute values.
template <class In, class Out>
double tolerance() {
  return std::is_same_v<In, double> ? 1e-12 : 1e-5;
}

template <class In, class Out, class InB>
using Kernel = void (*)(const GemmArgs<In, Out, InB>&);

// Runs a case on both devices. Returns the number of elements that differ. The padding and the gaps in C's memory count too: a kernel must not
// write there.
template <class In, class Out, class InB>
Int count_bad(const Case& s, Kernel<In, Out, InB> on_cpu, Kernel<In, Out, InB> on_gpu) {
  const Int lda = (s.ta ? s.m : s.k) + s.pad, ldb = (s.tb ? s.k : s.n) + s.pad, ldc = s.n + s.pad;
  const Int size_a = (s.ta ? s.k : s.m) * lda, size_b = (s.tb ? s.n : s.k) * ldb, size_c = s.m * ldc + s.gap;
  const auto a = random_values<In>(size_a * (s.share_a ? 1 : s.batch), 1);
  const auto b = random_values<InB>(size_b * (s.share_b ? 1 : s.batch), 2);
  auto c = random_values<Out>(size_c * (s.share_c ? 1 : s.batch), 3);
  const auto bias = random_values<Out>(s.n, 4);
  const OnGpu<In> gpu_a(a, s.offset);
  const OnGpu<InB> gpu_b(b, s.offset);
  const OnGpu<Out> gpu_c(c, s.offset), gpu_bias(bias, s.offset);
  GemmArgs<In, Out, InB> g{s.m, s.n, s.k, a.data(), lda, s.ta, b.data(), ldb, s.tb, c.data(), ldc};
  g.batch = s.batch;
  g.stride_a = s.share_a ? 0 : size_a;
  g.stride_b = s.share_b ? 0 : size_b;
  g.stride_c = s.share_c ? 0 : size_c;
  g.bias = s.bias ? bias.data() : nullptr;
  g.accumulate = s.accumulate;
  g.alpha = s.alpha;
  std::vector<double> plain(static_cast<std::size_t>(s.batch * s.m * s.n)), scale(plain.size());
  fm::cpu::gemm_reference(g, plain.data(), scale.data());
  std::vector<double> allowed(c.size(), 0.0);
  for (Int q = 0; q < s.batch; ++q)
    for (Int i = 0; i < s.m; ++i)
      for (Int j = 0; j < s.n; ++j)
        allowed[static_cast<std::size_t>(q * g.stride_c + i * ldc + j)] += scale[static_cast<std::size_t>((q * s.m + i) * s.n + j)];
  on_cpu(g);
  g.a = gpu_a.data();
  g.b = gpu_b.data();
  g.c = gpu_c.data();
  g.bias = s.bias ? gpu_bias.data() : nullptr;
  on_gpu(g);
  const auto got = gpu_c.values();
  Int bad = 0;
  for (std::size_t i = 0; i < c.size(); ++i) {
    const double want = reference_value(c[i]);
    // CPU and GPU round a result once. In sums over the batch they round each part of the sum.
    const double rounding = !std::is_same_v<Out, Half> ? 0 : (s.share_c ? allowed[i] : allowed[i] > 0 ? std::fabs(want) : 0) / 128;
    bad += !(std::fabs(reference_value(got[i]) - want) <= tolerance<In, Out>() * allowed[i] + rounding);
  }
  return bad;
}

void check_all(const Case& s) {
  INFO(describe(s));
  const GemmKernels &c = fm::cpu::gemm_kernels(), &g = gpu().gemm;
  CHECK(count_bad(s, c.f32, g.f32) == 0);
  CHECK(count_bad(s, c.f64, g.f64) == 0);
  CHECK(count_bad(s, c.bf16, g.bf16) == 0);
  CHECK(count_bad(s, c.bf16_out, g.bf16_out) == 0);
  CHECK(count_bad(s, c.bf16_rounding, g.bf16_rounding) == 0);
  CHECK(count_bad(s, c.bf16_rounding_out, g.bf16_rounding_out) == 0);
}

template <class F>
void for_each_transposition(const F& f) {
  for (int t = 0; t < 4; ++t) f((t & 1) != 0, (t & 2) != 0);
}

}  // namespace

TEST_CASE("products on a GPU: odd sizes, all transpositions") {
  for (Int m : {1, 5, 32})
    for (Int n : {1, 7, 33})
      for (Int k : {1, 3, 40})
        for_each_transposition([&](bool ta, bool tb) {
          check_all({.m = m, .n = n, .k = k, .ta = ta, .tb = tb});
          check_all({.m = m, .n = n, .k = k, .ta = ta, .tb = tb, .pad = 3, .offset = 1});
        });
}

TEST_CASE("products on a GPU: bias, accumulate and alpha, and an empty inner dimension") {
  for (bool bias : {false, true})
    for (bool accumulate : {false, true})
      for (double alpha : {1.0, -0.37})
        for (Int k : {0, 70})
          for (std::size_t offset : {0, 3})
            check_all(
                {.m = 23, .n = 37, .k = k, .tb = true, .bias = bias, .accumulate = accumulate, .alpha = alpha, .pad = 1, .offset = offset});
}

TEST_CASE("products on a GPU: batches, shared operands, empty products") {
  for_each_transposition([](bool ta, bool tb) {
    check_all({.m = 17, .n = 19, .k = 23, .ta = ta, .tb = tb, .batch = 5, .bias = true, .gap = 7});
    check_all({.m = 16, .n = 8, .k = 33, .ta = ta, .tb = tb, .batch = 9, .accumulate = true});
    check_all({.m = 17, .n = 19, .k = 23, .ta = ta, .tb = tb, .batch = 4, .share_a = true});
    check_all({.m = 17, .n = 19, .k = 23, .ta = ta, .tb = tb, .batch = 4, .share_b = true, .bias = true, .pad = 2});
    check_all({.m = 17, .n = 19, .k = 0, .ta = ta, .tb = tb, .batch = 3, .bias = true, .accumulate = true});
    check_all({.m = 9, .n = 11, .k = 13, .ta = ta, .tb = tb, .batch = 6, .share_c = true, .accumulate = true});
    check_all(
        {.m = 9, .n = 11, .k = 13, .ta = ta, .tb = tb, .batch = 3, .share_b = true, .share_c = true, .bias = true, .accumulate = true});
  });
  check_all({.m = 0, .n = 5, .k = 3});
  check_all({.m = 5, .n = 0, .k = 3});
  check_all({.m = 5, .n = 4, .k = 3, .batch = 0});
}

TEST_CASE("products on a GPU: a rounded weight's NaN and infinity pass through") {
  std::vector<RoundedFloat> b(20, RoundedFloat{0.5f});
  b[2].value = std::numeric_limits<float>::quiet_NaN();
  b[3].value = std::numeric_limits<float>::max();  // rounds up to infinity
  b[4].value = 1.00390625f;                        // a tie, which rounds to even: 1
  const OnGpu<Half> a({fm::bf16(1.0f).bits});
  const OnGpu<RoundedFloat> weights(b);
  const OnGpu<float> c(std::vector<float>(20, 7.0f));
  gpu().gemm.bf16_rounding({1, 20, 1, a.data(), 1, false, weights.data(), 20, false, c.data(), 20});
  const auto got = c.values();
  CHECK(got[1] == 0.5f);
  CHECK(std::isnan(got[2]));
  CHECK(std::isinf(got[3]));
  CHECK(got[4] == 1.0f);
}

TEST_CASE("products on a GPU: TF32 products are close to exact ones") {
  fm::cuda::allow_tf32(true);
  const OnGpu<float> a(random_values<float>(16 * 16, 1)), b(random_values<float>(16 * 16, 2)), c(std::vector<float>(16 * 16)),
      d(std::vector<float>(16 * 16));
  gpu().gemm.f32({16, 16, 16, a.data(), 16, false, b.data(), 16, false, c.data(), 16});
  fm::cuda::allow_tf32(false);
  gpu().gemm.f32({16, 16, 16, a.data(), 16, false, b.data(), 16, false, d.data(), 16});
  const auto near = c.values(), exact = d.values();
  for (std::size_t i = 0; i < near.size(); ++i) CHECK(std::fabs(near[i] - exact[i]) < 2e-2);
}

TEST_CASE("products on a GPU: a repeated product allocates nothing; sizes beyond cuBLAS's integers are errors") {
  const Case s{.m = 20, .n = 24, .k = 28, .tb = true, .bias = true};
  const auto run = [&] { CHECK(count_bad(s, fm::cpu::gemm_kernels().bf16_rounding_out, gpu().gemm.bf16_rounding_out) == 0); };
  run();
  const auto total = [] {
    const fm::MemoryStats stats = fm::memory_stats(fm::Device::cuda(0));
    return stats.live + stats.cached;
  };
  const std::size_t before = total();
  run();
  CHECK(total() == before);
  const OnGpu<float> x({1.0f});
  CHECK_THROWS_AS(gpu().gemm.f32({Int(1) << 31, 1, 1, x.data(), 1, false, x.data(), 1, false, x.data(), 1}), fm::ShapeError);
}

namespace {

Int size_x(const ConvShape& s) { return s.batch * s.in_channels * s.height * s.width; }
Int size_w(const ConvShape& s) { return s.out_channels * s.in_channels * s.kernel_h * s.kernel_w; }
Int size_y(const ConvShape& s) { return s.batch * s.out_channels * s.out_height() * s.out_width(); }

// `terms` products of numbers in [-1, 1) are summed for each element.
template <class T>
Int count_bad(const std::vector<T>& got, const std::vector<T>& want, double terms) {
  Int bad = 0;
  for (std::size_t i = 0; i < want.size(); ++i)
    bad += !(std::fabs(double(got[i]) - double(want[i])) <= (std::is_same_v<T, double> ? 1e-12 : 1e-5) * (1 + terms / 4));
  return bad;
}

template <class T>
void check_conv(const ConvShape& s, const ConvFunctions<T>& on_cpu, const ConvFunctions<T>& on_gpu, bool with_bias, bool accumulate) {
  const auto x = random_values<T>(size_x(s), 1), w = random_values<T>(size_w(s), 2), gy = random_values<T>(size_y(s), 3),
             bias = random_values<T>(s.out_channels, 4);
  auto y = random_values<T>(size_y(s), 5), gx = random_values<T>(size_x(s), 6), gw = random_values<T>(size_w(s), 7);
  const OnGpu<T> dx(x), dw(w), dgy(gy), dbias(bias), dy(y), dgx(gx), dgw(gw);
  on_cpu.forward(s, x.data(), w.data(), with_bias ? bias.data() : nullptr, y.data(), accumulate);
  on_cpu.grad_input(s, gy.data(), w.data(), gx.data(), accumulate);
  on_cpu.grad_weight(s, x.data(), gy.data(), gw.data(), accumulate);
  on_gpu.forward(s, dx.data(), dw.data(), with_bias ? dbias.data() : nullptr, dy.data(), accumulate);
  on_gpu.grad_input(s, dgy.data(), dw.data(), dgx.data(), accumulate);
  on_gpu.grad_weight(s, dx.data(), dgy.data(), dgw.data(), accumulate);
  const double taps = double(s.kernel_h * s.kernel_w);
  CHECK(count_bad(dy.values(), y, double(s.in_channels) * taps) == 0);
  CHECK(count_bad(dgx.values(), gx, double(s.out_channels) * taps) == 0);
  CHECK(count_bad(dgw.values(), gw, double(s.batch * s.out_height() * s.out_width())) == 0);
}

void check_conv(const ConvShape& s) {
  INFO("batch " << s.batch << ", " << s.in_channels << " -> " << s.out_channels << " channels, " << s.height << "x" << s.width
                << ", kernel " << s.kernel_h << "x" << s.kernel_w << ", stride " << s.stride_h << "x" << s.stride_w << ", pad " << s.pad_h
                << "x" << s.pad_w);
  const ConvKernels &c = fm::cpu::conv_kernels(), &g = gpu().conv;
  for (bool accumulate : {false, true}) {
    check_conv(s, c.f32, g.f32, !accumulate, accumulate);
    check_conv(s, c.f64, g.f64, accumulate, accumulate);
  }
}

}  // namespace

TEST_CASE("convolutions on a GPU: kernels, strides and paddings") {
  for (Int kernel : {1, 2, 3, 5})
    for (Int stride : {1, 2, 3})
      for (Int pad : {0, 1, 2}) check_conv({2, 3, 7, 9, 5, kernel, kernel, stride, stride, pad, pad});
  check_conv({2, 3, 11, 6, 4, 3, 2, 2, 1, 0, 2});
  check_conv({1, 2, 5, 13, 3, 1, 7, 1, 3, 0, 3});
  check_conv({3, 1, 4, 4, 1, 4, 4, 4, 4});        // one patch per image
  check_conv({2, 2, 2, 2, 3, 3, 3, 1, 1, 2, 2});  // kernel larger than the image
  check_conv({1, 2, 3, 3, 2, 1, 1, 1, 1, 4, 4});  // whole rows of padding
}

TEST_CASE("convolutions on a GPU: an empty batch, and a kernel larger than the image") {
  check_conv({0, 3, 4, 4, 2, 3, 3});
  check_conv({2, 3, 2, 2, 2, 3, 3});  // the kernel does not fit: no output pixel
}

TEST_CASE("convolutions on a GPU: a patch matrix larger than the workspace") {
  const ConvShape s{1, 1, 112, 112, 2, 40, 40};  // 1600 taps at 5329 pixels, cut into two pieces
  check_conv(s, fm::cpu::conv_kernels().f32, gpu().conv.f32, true, false);
}
