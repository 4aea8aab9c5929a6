// Chooses the tile for each instruction set. The product itself is in gemm_batch.h and its includes. The accumulators of a tile fill three
// quarters of the vector registers: 16 of them up to AVX2, 32 with AVX-512.
#include "tensor/kernels/cpu/gemm.h"

#include "tensor/kernels/cpu/gemm_batch.h"

namespace fm::cpu::FM_ISA {
namespace {

#if defined(__AVX512F__)
template <class T>
using BestTile = FmaTile<T, 64, 12, 2>;
#elif defined(__AVX__)
template <class T>
using BestTile = FmaTile<T, 32, 6, 2>;
#else
template <class T>
using BestTile = FmaTile<T, 16, 6, 2>;
#endif

// Multiplies bf16 in pairs if the machine has VDPBF16PS, else widens it to float while packing.
template <class Out, class InB>
void gemm_bf16(const GemmArgs<std::uint16_t, Out, InB>& g) {
#if defined(__AVX512F__)
  if (__builtin_cpu_supports("avx512bf16")) return gemm<PairTile<64, 12, 2, true>>(g);
#endif
  gemm<BestTile<float>>(g);
}

}  // namespace

const GemmKernels& gemm_kernels() {
  static constexpr GemmKernels table{gemm<BestTile<float>, float, float, float>,      gemm<BestTile<double>, double, double, double>,
                                     gemm_bf16<float, std::uint16_t>,                 gemm_bf16<std::uint16_t, std::uint16_t>,
                                     gemm_bf16<float, RoundedFloat>,                  gemm_bf16<std::uint16_t, RoundedFloat>};
  return table;
}

}  // namespace fm::cpu::FM_ISA
