// A batch of products on all threads. Small products run one per thread; large ones run one after another, each on all threads.
#pragma once

#include <omp.h>

#include "tensor/kernels/cpu/gemm_product.h"
#include "tensor/kernels/cpu/gemm_split.h"
#include "tensor/kernels/cpu/gemm_store.h"
#include "tensor/kernels/cpu/scratch.h"

namespace fm::cpu::FM_ISA {
namespace {

constexpr double worth_a_fork = 1e6, worth_sharing = 8e6;      // flops

template <class Tile, class In, class Out, class InB>
void one_per_thread(const GemmArgs<In, Out, InB>& g, int threads) {
  const Int bytes = round_up(Product<Tile, In, Out, InB>(g, 0, 1).scratch_bytes(), 64);
  char* memory = static_cast<char*>(thread_scratch(threads * bytes, Scratch::product));
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (Int q = 0; q < g.batch; ++q) Product<Tile, In, Out, InB>(g, q, 1).run(memory + omp_get_thread_num() * bytes);
}

template <class Tile, class In, class Out, class InB>
void one_after_another(const GemmArgs<In, Out, InB>& g, int threads) {
  for (Int q = 0; q < g.batch; ++q) {
    Product<Tile, In, Out, InB> product(g, q, threads);
    product.run(static_cast<char*>(thread_scratch(product.scratch_bytes(), Scratch::product)));
  }
}

template <class Tile, class In, class Out, class InB>
void gemm(const GemmArgs<In, Out, InB>& args) {
  GemmArgs<In, Out, InB> g = args;
  if (g.m <= 0 || g.n <= 0 || g.batch <= 0) return;
  // A batch whose products share B, and whose A and C lie row after row, is one taller product.
  if (g.batch > 1 && g.stride_b == 0 && !g.ta && g.stride_a == g.m * g.lda && g.stride_c == g.m * g.ldc) g.m *= g.batch, g.batch = 1;
  if (g.k <= 0) {
    for (Int q = 0; q < g.batch; ++q) product_of_nothing<typename Tile::Acc>(g, g.c + q * g.stride_c);
    return;
  }
  const double work = 2.0 * double(g.m) * double(g.n) * double(g.k);
  const int threads = work * double(g.batch) < worth_a_fork || omp_in_parallel() ? 1 : omp_get_max_threads();
  const int inner = work < worth_a_fork ? 1 : threads;
  if (is_split(g)) {
    for (Int q = 0; q < g.batch; ++q) split_product<Tile>(g, q, inner);
    return;
  }
  // Products that add into the same C cannot run at the same time.
  const bool across = threads > 1 && g.batch > 1 && g.stride_c != 0 && (work < worth_sharing || g.batch >= 4 * threads);
  if (across)
    one_per_thread<Tile>(g, threads);
  else
    one_after_another<Tile>(g, inner);
}

}  // namespace
}  // namespace fm::cpu::FM_ISA
