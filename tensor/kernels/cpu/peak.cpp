#include "tensor/kernels/cpu/peak.h"

#include "tensor/parallel.h"

namespace fm::cpu::FM_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int bytes = 64;
#elif defined(__AVX2__)
constexpr int bytes = 32;
#else
constexpr int bytes = 16;
#endif

// Twelve independent chains: every tile has at least that many accumulators. The compiler must not see that the chains are equal, or it computes
// only one.
constexpr int chains = 12, length = 20000;
typedef float V __attribute__((vector_size(bytes)));

#if defined(__x86_64__)
#define FM_HIDE(x) asm volatile("" : "+x"(x))
#if defined(__AVX512F__)
#undef FM_HIDE
#define FM_HIDE(x) asm volatile("" : "+v"(x))
#endif
#else
#define FM_HIDE(x) asm volatile("" : "+w"(x))
#endif

struct MultiplyAdd {
  static constexpr double flops = 2.0 * bytes / 4;
  FM_INLINE static void step(V& acc, const V& x, const V& y) { acc = acc * x + y; }
};

#if defined(__AVX512F__)
struct PairProduct {
  static constexpr double flops = 4.0 * bytes / 4;
  FM_INLINE static void step(V& acc, const V& x, const V& y) { asm("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(x), "v"(y)); }
};
#endif

template <class Step>
double run_chains() {
  V acc[chains] = {}, x = V{} + 0.999f, y = V{} + 1e-3f;
#pragma GCC unroll 12
  for (int c = 0; c < chains; ++c) FM_HIDE(acc[c]);
  for (int i = 0; i < length; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < chains; ++c) Step::step(acc[c], x, y);
    FM_HIDE(x);
    FM_HIDE(y);
  }
#pragma GCC unroll 12
  for (int c = 0; c < chains; ++c) FM_HIDE(acc[c]);
  return Step::flops * chains * length;
}

constexpr PeakKernels plain{run_chains<MultiplyAdd>, nullptr};
#if defined(__AVX512F__)
constexpr PeakKernels with_bf16{run_chains<MultiplyAdd>, run_chains<PairProduct>};
#endif

}  // namespace

const PeakKernels& peak_kernels() {
#if defined(__AVX512F__)
  if (__builtin_cpu_supports("avx512bf16")) return with_bf16;
#endif
  return plain;
}

}  // namespace fm::cpu::FM_ISA
