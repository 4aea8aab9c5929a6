// One matrix product on a team of threads: packs and multiplies the blocks that gemm_blocks.h cuts it into.
#pragma once

#include <omp.h>

#include "tensor/kernels/cpu/gemm.h"
#include "tensor/kernels/cpu/gemm_blocks.h"
#include "tensor/kernels/cpu/gemm_pack.h"
#include "tensor/kernels/cpu/gemm_store.h"
#include "tensor/kernels/cpu/gemm_tile.h"

namespace fm::cpu::FM_ISA {
namespace {

template <class Tile, class In, class Out, class InB>
class Product {
 public:
  // Product `item` of the batch on `threads` threads.
  Product(const GemmArgs<In, Out, InB>& args, Int item, int threads)
      : g_(args),
        a_(args.a + item * args.stride_a),
        b_(args.b + item * args.stride_b),
        c_(args.c + item * args.stride_c),
        threads_(threads),
        cut_(args, threads) {}

  Int scratch_bytes() const { return threads_ * cut_.own_bytes() + cut_.panel_bytes(); }

  void run(char* memory) {
    own_ = memory;
    panel_data_ = reinterpret_cast<P*>(memory + threads_ * cut_.own_bytes());
    if (threads_ == 1) {
      run_team();
    } else {
#pragma omp parallel num_threads(threads_)
      run_team();
    }
  }

 private:
  using Cut = Blocks<Tile, In, Out, InB>;
  using P = typename Tile::Packed;
  using T = typename Tile::Acc;
  static constexpr Int mr = Tile::mr, nr = Tile::nr;

  // The work of one thread of the team.
  void run_team() {
    char* own = own_ + (threads_ == 1 ? 0 : omp_get_thread_num()) * cut_.own_bytes();
    for (Int s = 0; s < cut_.strips; s += cut_.panel)
      for (Int k = 0; k < g_.k; k += cut_.slab) {
        const Int strips = smaller(cut_.panel, cut_.strips - s), terms = smaller(cut_.slab, g_.k - k);
        const Int chunks = ceil_div(terms, cut_.kc), tasks = cut_.tasks();
        if (threads_ == 1) {
          if (cut_.shared)
            for (Int i = 0; i < strips * chunks; ++i) pack_shared(s, strips, k, terms, i);
          for (Int i = 0; i < tasks; ++i) task(i, s, strips, k, terms, own);
          continue;
        }
        if (cut_.shared) {
#pragma omp for schedule(static)
          for (Int i = 0; i < strips * chunks; ++i) pack_shared(s, strips, k, terms, i);
        }
#pragma omp for schedule(dynamic, 1) nowait
        for (Int i = 0; i < tasks; ++i) task(i, s, strips, k, terms, own);
        if (s + cut_.panel < cut_.strips || k + cut_.slab < g_.k) {      // after the last part of B the end of the team waits anyway
#pragma omp barrier
        }
      }
  }

  // Packs strip `strip` of B, terms [p, p + terms).
  void pack_b(Int strip, Int p, Int terms, P* dst) const {
    const Int j = strip * nr;
    pack_strip<Tile, Tile::nr>(g_.tb, g_.tb ? b_ + j * g_.ldb + p : b_ + p * g_.ldb + j, g_.ldb, smaller(nr, g_.n - j), terms, dst);
  }

  // The panel holds one chunk of kc terms after the other, and in each chunk one strip after the other.
  P* panel_strip(Int strips, Int chunk, Int strip) const { return panel_data_ + (chunk * strips + strip) * nr * cut_.kc; }

  void pack_shared(Int s, Int strips, Int k, Int terms, Int i) const {
    const Int chunk = i / strips, strip = i % strips, p = chunk * cut_.kc;
    pack_b(s + strip, k + p, smaller(cut_.kc, terms - p), panel_strip(strips, chunk, strip));
  }

  // Computes block `index` of C within the panel: adds the terms of the slab to all of its rows and columns.
  void task(Int index, Int s, Int strips, Int k, Int terms, char* own) const {
    // Blocks differ by at most one strip: with few blocks, a short last one would leave threads idle.
    const Int row = index / cut_.column_blocks, column = index % cut_.column_blocks;
    const Int i0 = row * cut_.row_strips / cut_.row_blocks * mr, i1 = smaller(g_.m, (row + 1) * cut_.row_strips / cut_.row_blocks * mr);
    const Int s0 = column * strips / cut_.column_blocks, s1 = (column + 1) * strips / cut_.column_blocks;
    const Int width = cut_.task_strips();
    if (i0 >= i1 || s0 >= s1) return;
    P* packed_a = reinterpret_cast<P*>(own);
    P* packed_b = packed_a + cut_.a_elements();
    T* sums = reinterpret_cast<T*>(packed_b + cut_.b_elements());
    for (Int p = 0; p < terms; p += cut_.kc) {
      const Int count = smaller(cut_.kc, terms - p);
      if (cut_.from == AFrom::packed) pack_a(i0, i1, k + p, count, packed_a);
      for (Int strip = s0; strip < s1; ++strip) {
        TileCall<Tile> call = tile_call(s + strip, s + s0, i0, k + p, count, sums);
        if (cut_.shared) {
          call.b = panel_strip(strips, p / cut_.kc, strip);
          call.bs = nr * Tile::step;
        } else {
          own_strip(call, s + strip, i1 - i0, k + p, count, packed_b);
        }
        run_tiles(call, i0, i1, k + p, count, packed_a);
      }
    }
    if constexpr (Cut::rounded) round_block(i0, i1, (s + s0) * nr, smaller(g_.n, (s + s1) * nr), sums, width * nr);
  }

  void pack_a(Int i0, Int i1, Int p, Int count, P* dst) const {
    const Int padded = round_up(count, Tile::step);
    for (Int i = i0; i < i1; i += mr, dst += mr * padded)
      pack_strip<Tile, Tile::mr>(!g_.ta, g_.ta ? a_ + p * g_.lda + i : a_ + i * g_.lda + p, g_.lda, smaller(mr, i1 - i), count, dst);
  }

  // Returns a TileCall in which only the operands are missing.
  TileCall<Tile> tile_call(Int strip, Int first_strip, Int i0, Int p, Int count, T* sums) const {
    TileCall<Tile> call;
    const Int j = strip * nr;
    call.terms = ceil_div(count, Tile::step);
    call.cols = smaller(nr, g_.n - j);
    call.bias = nullptr;
    call.load = p > 0;
    call.alpha = T(g_.alpha);
    if constexpr (Cut::rounded) {
      call.c = sums + (strip - first_strip) * nr;
      call.ldc = cut_.task_strips() * nr;
    } else {
      call.c = c_ + i0 * g_.ldc + j;
      call.ldc = g_.ldc;
      if (p == 0 && g_.bias) call.bias = g_.bias + j;
      call.load = call.load || g_.accumulate;
    }
    return call;
  }

  // Sets the strip of B for this task only: read in place if it is used once or twice, else packed.
  void own_strip(TileCall<Tile>& call, Int strip, Int rows, Int p, Int count, P* packed_b) const {
    call.b = packed_b;
    call.bs = nr * Tile::step;
    if constexpr (std::is_same_v<InB, P> && Tile::step == 1)
      if (!g_.tb && rows <= 2 * mr && call.cols == nr) {
        call.b = b_ + p * g_.ldb + strip * nr;
        call.bs = g_.ldb;
        return;
      }
    pack_b(strip, p, count, packed_b);
  }

  // Multiplies all rows of a task with one strip of B.
  void run_tiles(TileCall<Tile> call, Int i0, Int i1, Int p, Int count, const P* packed_a) const {
    const bool by_rows = cut_.from == AFrom::rows;
    const Int padded = round_up(count, Tile::step);
    Int next = mr * padded;                      // step from the rows of A of one tile to those of the next
    call.a = packed_a;
    call.as = mr * Tile::step;
    if constexpr (Cut::same) {
      if (cut_.from != AFrom::packed) {
        call.a = by_rows ? a_ + i0 * g_.lda + p : a_ + p * g_.lda + i0;
        call.as = g_.lda;
        next = by_rows ? mr * g_.lda : mr;
      }
    }
    const TileFunction<Tile> full = tile_function<Tile>(by_rows, mr);
    Int i = i0;
    for (; i + mr <= i1; i += mr, call.a += next, call.c += mr * call.ldc) full(call);
    if (i < i1) tile_function<Tile>(by_rows, i1 - i)(call);
  }

  void round_block(Int i0, Int i1, Int j0, Int j1, const T* sums, Int ld) const {
    for (Int i = i0; i < i1; ++i)
      for (Int j = j0; j < j1; ++j) store_sum(g_, j, sums[(i - i0) * ld + j - j0], c_[i * g_.ldc + j]);
  }

  const GemmArgs<In, Out, InB>& g_;
  const In* a_;
  const InB* b_;
  Out* c_;
  int threads_;
  Cut cut_;
  char* own_ = nullptr;          // scratch memory, with a part for each thread
  P* panel_data_ = nullptr;
};

}  // namespace
}  // namespace fm::cpu::FM_ISA
