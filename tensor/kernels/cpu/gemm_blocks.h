// The division of one matrix product:
//
//   for every panel of columns and slab of k:   pack that part of B once, all threads together
//     for every block of rows (and columns):    one task: pack its part of A if that pays, run the tiles
//
// With few rows packed parts are not shared: each task owns columns and packs each strip of B just before its use. Blocks may depend on the number
// of threads, but results do not: each element of C is summed over k in fixed chunks, in order.
#pragma once

#include <type_traits>

#include "tensor/kernels/cpu/gemm.h"
#include "tensor/kernels/cpu/integers.h"

namespace fm::cpu::FM_ISA {
namespace {

enum class AFrom { rows, columns, packed };     // A is read in place, in place and transposed, or from a copy

template <class Tile, class In, class Out, class InB>
struct Blocks {
  using P = typename Tile::Packed;
  using T = typename Tile::Acc;
  static constexpr Int mr = Tile::mr, nr = Tile::nr;
  static constexpr bool same = std::is_same_v<In, P>;          // A can be read in place
  static constexpr bool rounded = !std::is_same_v<Out, T>;     // C is narrower than the sum

  Int kc;                            // terms of the sum per chunk
  Int row_strips, strips;            // numbers of tiles of C, down and across
  bool shared;                       // B is packed once for all tasks
  AFrom from = AFrom::packed;
  Int panel, slab;                   // strips and terms of B packed at a time
  Int row_blocks, column_blocks;     // tasks of a panel and slab

  Blocks(const GemmArgs<In, Out, InB>& g, int threads) {
    kc = round_up(ceil_div(g.k, ceil_div(g.k, Tile::kc)), 4 * Tile::step);
    row_strips = ceil_div(g.m, mr);
    strips = ceil_div(g.n, nr);
    shared = g.m > shared_rows;
    choose_tasks(g, threads);
    choose_rows_of_a(g);
  }

  Int tasks() const { return row_blocks * column_blocks; }
  Int task_rows() const { return ceil_div(row_strips, row_blocks) * mr; }            // rows of the largest task
  Int task_strips() const { return ceil_div(panel, column_blocks); }

  // Scratch memory: each thread's part holds packed A, packed B and sums, in this order. All threads share one panel of B.
  Int a_elements() const { return from == AFrom::packed ? round_up(task_rows() * kc + slack, 64) : 0; }
  Int b_elements() const { return shared ? 0 : round_up(nr * kc + slack, 64); }
  Int c_elements() const { return rounded ? round_up(task_rows() * task_strips() * nr, 64) : 0; }
  Int own_bytes() const { return (a_elements() + b_elements()) * Int(sizeof(P)) + c_elements() * Int(sizeof(T)); }
  Int panel_bytes() const { return shared ? panel * nr * slab * Int(sizeof(P)) : 0; }

 private:
  static constexpr Int shared_rows = 256;                      // with more rows than this, B is packed once for all tasks
  static constexpr Int block_rows = 240;                       // rows of a task: block_rows * kc floats of A are 240 KiB of L2
  static constexpr Int panel_elements = Int(2) << 20;          // packed B at a time: 8 MiB of floats
  static constexpr Int rounded_columns = 512;                  // columns of a task whose sums are kept in scratch memory
  static constexpr Int slack = 64;

  void choose_rows_of_a(const GemmArgs<In, Out, InB>& g) {
    // A copy of A pays if a task has many strips: then A is read as one stream instead of twelve. On Zen 5, reading in place beat the
    // copy by 1 to 6 % for rows (up to eight strips), and by 2 to 35 % for the columns of a transposed A (up to sixteen strips). Rows whose distance is a multiple of
    // the page size (`conflict`) fall into the same sets of the L1 cache.
    const bool few_columns = g.n <= 2 * nr;
    const bool conflict = g.lda * Int(sizeof(In)) % 4096 == 0 && g.m >= 4;
    if (!same)
      from = AFrom::packed;
    else if (!g.ta && (Tile::step == 1 || g.k % Tile::step == 0))
      from = (task_strips() > 8 && g.m >= 4 * mr) || (conflict && !few_columns) ? AFrom::packed : AFrom::rows;
    else
      from = Tile::step == 1 && (few_columns || (task_strips() <= 16 && !conflict)) ? AFrom::columns : AFrom::packed;
  }

  void choose_tasks(const GemmArgs<In, Out, InB>& g, int threads) {
    panel = strips;
    slab = round_up(g.k, kc);
    if (shared) {
      if (!rounded) slab = smaller(slab, 8 * kc);
      const Int most = larger(1, panel_elements / (slab * nr));
      panel = ceil_div(strips, ceil_div(strips, most));
      row_blocks = ceil_div(g.m, block_rows);
      if (threads > 1) row_blocks = smaller(row_strips, round_up(row_blocks, threads));
      column_blocks = threads == 1 ? 1 : smaller(panel, ceil_div(2 * threads, row_blocks));
    } else {
      column_blocks = threads == 1 ? 1 : smaller(strips, 2 * threads);
      row_blocks = smaller(row_strips, ceil_div(threads, column_blocks));
    }
    if (rounded) column_blocks = larger(column_blocks, ceil_div(panel, rounded_columns / nr));
  }
};

}  // namespace
}  // namespace fm::cpu::FM_ISA
