// Products with a long sum and a small C, which alone has too little work for all threads. k is cut into pieces, which depend on the sizes only. Each
// piece is a separate product into scratch memory, and the results are added in order.
#pragma once

#include <omp.h>

#include "tensor/kernels/cpu/gemm_product.h"
#include "tensor/kernels/cpu/gemm_store.h"
#include "tensor/kernels/cpu/scratch.h"

namespace fm::cpu::FM_ISA {
namespace {

constexpr Int split_above = 8192, split_piece = 4096, split_most = 64, split_elements = 128 * 128;

template <class In, class Out, class InB>
FM_INLINE bool is_split(const GemmArgs<In, Out, InB>& g) {
  return g.k >= split_above && g.m * g.n <= split_elements;
}

template <class Tile, class In, class Out, class InB>
void split_product(const GemmArgs<In, Out, InB>& g, Int item, int threads) {
  using T = typename Tile::Acc;
  const Int piece = larger(split_piece, round_up(ceil_div(g.k, split_most), split_piece)), pieces = ceil_div(g.k, piece);
  const Int size = g.m * g.n;
  T* sums = static_cast<T*>(thread_scratch(pieces * size * Int(sizeof(T)), Scratch::partial_sums));
  GemmArgs<In, T, InB> all{g.m, g.n, g.k, g.a + item * g.stride_a, g.lda, g.ta, g.b + item * g.stride_b, g.ldb, g.tb, sums, g.n};
  all.alpha = g.alpha;
  const auto part = [&](Int i) {
    GemmArgs<In, T, InB> one = all;
    const Int p = i * piece;
    one.k = smaller(piece, g.k - p);
    one.a += g.ta ? p * g.lda : p;
    one.b += g.tb ? p : p * g.ldb;
    one.c += i * size;
    return one;
  };
  // The last piece has the rest of k and may have to pack operands that the other pieces read in place.
  const GemmArgs<In, T, InB> first = part(0), last = part(pieces - 1);
  const auto scratch_of = [](const GemmArgs<In, T, InB>& one) { return Product<Tile, In, T, InB>(one, 0, 1).scratch_bytes(); };
  const Int bytes = round_up(larger(scratch_of(first), scratch_of(last)), 64);
  char* memory = static_cast<char*>(thread_scratch(threads * bytes, Scratch::product));
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
  for (Int i = 0; i < pieces; ++i) {
    const GemmArgs<In, T, InB> one = part(i);
    Product<Tile, In, T, InB>(one, 0, 1).run(memory + (threads > 1 ? omp_get_thread_num() : 0) * bytes);
  }
  Out* c = g.c + item * g.stride_c;
  for (Int i = 0; i < g.m; ++i)
    for (Int j = 0; j < g.n; ++j) {
      T x = sums[i * g.n + j];
      for (Int q = 1; q < pieces; ++q) x += sums[q * size + i * g.n + j];
      store_sum(g, j, x, c[i * g.ldc + j]);
    }
}

}  // namespace
}  // namespace fm::cpu::FM_ISA
