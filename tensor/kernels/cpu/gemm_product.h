// One matrix product, cut into blocks:
//
//   for every panel of columns and slab of k:   pack that part of B once, all threads together
//     for every block of rows (and columns):    one task: pack its part of A where that pays, run the tiles
//
// With few rows there is nothing to share: each task owns columns and packs each strip of B just before use. Blocks may depend on the
// number of threads, results do not: each element of C is summed over k in fixed chunks, in order. Only where C is too small to give
// every thread work is k itself cut, in pieces given by the sizes alone, whose sums are added in order.
#pragma once

#include <omp.h>

#include <type_traits>

#include "tensor/kernels/cpu/gemm.h"
#include "tensor/kernels/cpu/gemm_pack.h"
#include "tensor/kernels/cpu/gemm_tile.h"
#include "tensor/kernels/cpu/scratch.h"

namespace fm::cpu::FM_ISA {
namespace {

using Int = std::int64_t;

FM_INLINE Int smaller(Int a, Int b) { return a < b ? a : b; }
FM_INLINE Int larger(Int a, Int b) { return a > b ? a : b; }
FM_INLINE Int ceil_div(Int a, Int b) { return (a + b - 1) / b; }
FM_INLINE Int round_up(Int a, Int b) { return ceil_div(a, b) * b; }

template <class Tile, class In, class Out>
class Product {
 public:
  using P = typename Tile::Packed;
  using T = typename Tile::Acc;

  // Product `item` of the batch on `threads` threads.
  Product(const GemmArgs<In, Out>& args, Int item, int threads)
      : g_(args), a_(args.a + item * args.stride_a), b_(args.b + item * args.stride_b), c_(args.c + item * args.stride_c), threads_(threads) {
    kc_ = round_up(ceil_div(g_.k, ceil_div(g_.k, Tile::kc)), 4 * Tile::step);
    row_strips_ = ceil_div(g_.m, mr);
    strips_ = ceil_div(g_.n, nr);
    shared_ = g_.m > shared_rows;
    choose_rows_of_a();
    choose_blocks();
  }

  Int scratch_bytes() const { return threads_ * own_bytes() + (shared_ ? panel_ * nr * slab_ * Int(sizeof(P)) : 0); }

  void run(char* memory) {
    own_ = memory;
    panel_data_ = reinterpret_cast<P*>(memory + threads_ * own_bytes());
    if (threads_ == 1) {
      run_team();
    } else {
#pragma omp parallel num_threads(threads_)
      run_team();
    }
  }

 private:
  static constexpr Int mr = Tile::mr, nr = Tile::nr;
  static constexpr bool same = std::is_same_v<In, P>;          // A and B can be read in place
  static constexpr bool rounded = !std::is_same_v<Out, T>;     // C is narrower than the sum
  static constexpr Int shared_rows = 256;                      // more rows than this: pack B once for all tasks
  static constexpr Int block_rows = 120;                       // rows of a task: block_rows * kc of A stay in L2
  static constexpr Int panel_elements = Int(2) << 20;          // packed B at a time: 8 MiB of floats
  static constexpr Int rounded_columns = 512;                  // columns of a task whose sums wait in scratch
  static constexpr Int slack = 64;

  enum class AFrom { rows, columns, packed };

  void choose_rows_of_a() {
    const bool few_columns = g_.n <= 2 * nr;
    // Rows a multiple of the page size apart fall into the same sets of the L1 cache.
    const bool conflict = g_.lda * Int(sizeof(In)) % 4096 == 0 && g_.m >= 4;
    if (!same)
      from_ = AFrom::packed;
    else if (!g_.ta && (Tile::step == 1 || g_.k % Tile::step == 0))
      from_ = conflict && !few_columns ? AFrom::packed : AFrom::rows;
    else
      from_ = Tile::step == 1 && few_columns ? AFrom::columns : AFrom::packed;
  }

  void choose_blocks() {
    panel_ = strips_;
    slab_ = round_up(g_.k, kc_);
    if (shared_) {
      if (!rounded) slab_ = smaller(slab_, 8 * kc_);
      const Int most = larger(1, panel_elements / (slab_ * nr));
      panel_ = ceil_div(strips_, ceil_div(strips_, most));
      row_blocks_ = ceil_div(g_.m, block_rows);
      if (threads_ > 1) row_blocks_ = smaller(row_strips_, round_up(row_blocks_, threads_));
      column_blocks_ = threads_ == 1 ? 1 : smaller(panel_, ceil_div(2 * threads_, row_blocks_));
    } else {
      column_blocks_ = threads_ == 1 ? 1 : smaller(strips_, 2 * threads_);
      row_blocks_ = smaller(row_strips_, ceil_div(threads_, column_blocks_));
    }
    if (rounded) column_blocks_ = larger(column_blocks_, ceil_div(panel_, rounded_columns / nr));
  }

  Int task_rows() const { return ceil_div(row_strips_, row_blocks_) * mr; }
  Int task_strips() const { return ceil_div(panel_, column_blocks_); }
  Int a_elements() const { return from_ == AFrom::packed ? round_up(task_rows() * kc_ + slack, 64) : 0; }
  Int b_elements() const { return shared_ ? 0 : round_up(nr * kc_ + slack, 64); }
  Int c_elements() const { return rounded ? round_up(task_rows() * task_strips() * nr, 64) : 0; }
  Int own_bytes() const { return (a_elements() + b_elements()) * Int(sizeof(P)) + c_elements() * Int(sizeof(T)); }

  // What each thread of the team does.
  void run_team() {
    char* own = own_ + (threads_ == 1 ? 0 : omp_get_thread_num()) * own_bytes();
    for (Int s = 0; s < strips_; s += panel_)
      for (Int k = 0; k < g_.k; k += slab_) {
        const Int strips = smaller(panel_, strips_ - s), terms = smaller(slab_, g_.k - k);
        const Int chunks = ceil_div(terms, kc_), tasks = row_blocks_ * column_blocks_;
        if (threads_ == 1) {
          if (shared_)
            for (Int i = 0; i < strips * chunks; ++i) pack_shared(s, strips, k, terms, i);
          for (Int i = 0; i < tasks; ++i) task(i, s, strips, k, terms, own);
          continue;
        }
        if (shared_) {
#pragma omp for schedule(static)
          for (Int i = 0; i < strips * chunks; ++i) pack_shared(s, strips, k, terms, i);
        }
#pragma omp for schedule(dynamic, 1) nowait
        for (Int i = 0; i < tasks; ++i) task(i, s, strips, k, terms, own);
        if (s + panel_ < strips_ || k + slab_ < g_.k) {      // the end of the team waits anyway
#pragma omp barrier
        }
      }
  }

  // Strip `strip` of B, terms [p, p + terms).
  void pack_b(Int strip, Int p, Int terms, P* dst) const {
    const Int j = strip * nr;
    pack_strip<Tile, Tile::nr>(g_.tb, g_.tb ? b_ + j * g_.ldb + p : b_ + p * g_.ldb + j, g_.ldb, smaller(nr, g_.n - j), terms, dst);
  }

  // The panel holds chunk after chunk of kc terms, in each strip after strip.
  P* panel_strip(Int strips, Int chunk, Int strip, Int) const { return panel_data_ + (chunk * strips + strip) * nr * kc_; }

  void pack_shared(Int s, Int strips, Int k, Int terms, Int i) const {
    const Int chunk = i / strips, strip = i % strips, p = chunk * kc_;
    pack_b(s + strip, k + p, smaller(kc_, terms - p), panel_strip(strips, chunk, strip, terms));
  }

  // Block `index` of C within the panel: all of its rows and columns over the slab.
  void task(Int index, Int s, Int strips, Int k, Int terms, char* own) const {
    const Int rows = task_rows(), width = task_strips();
    const Int i0 = index / column_blocks_ * rows, i1 = smaller(g_.m, i0 + rows);
    const Int s0 = index % column_blocks_ * width, s1 = smaller(strips, s0 + width);
    if (i0 >= i1 || s0 >= s1) return;
    P* packed_a = reinterpret_cast<P*>(own);
    P* packed_b = packed_a + a_elements();
    T* sums = reinterpret_cast<T*>(packed_b + b_elements());
    for (Int p = 0; p < terms; p += kc_) {
      const Int count = smaller(kc_, terms - p);
      if (from_ == AFrom::packed) pack_a(i0, i1, k + p, count, packed_a);
      for (Int strip = s0; strip < s1; ++strip) {
        TileCall<Tile> call = tile_call(s + strip, s + s0, i0, k + p, count, sums);
        if (shared_) {
          call.b = panel_strip(strips, p / kc_, strip, terms);
          call.bs = nr * Tile::step;
        } else {
          own_strip(call, s + strip, i1 - i0, k + p, count, packed_b);
        }
        run_tiles(call, i0, i1, k + p, count, packed_a);
      }
    }
    if constexpr (rounded) round_block(i0, i1, (s + s0) * nr, smaller(g_.n, (s + s1) * nr), sums, width * nr);
  }

  void pack_a(Int i0, Int i1, Int p, Int count, P* dst) const {
    const Int padded = round_up(count, Tile::step);
    for (Int i = i0; i < i1; i += mr, dst += mr * padded)
      pack_strip<Tile, Tile::mr>(!g_.ta, g_.ta ? a_ + p * g_.lda + i : a_ + i * g_.lda + p, g_.lda, smaller(mr, i1 - i), count, dst);
  }

  // Everything of a tile but its operands.
  TileCall<Tile> tile_call(Int strip, Int first_strip, Int i0, Int p, Int count, T* sums) const {
    TileCall<Tile> call;
    const Int j = strip * nr;
    call.terms = ceil_div(count, Tile::step);
    call.cols = smaller(nr, g_.n - j);
    call.bias = nullptr;
    call.load = p > 0;
    call.alpha = T(g_.alpha);
    if constexpr (rounded) {
      call.c = sums + (strip - first_strip) * nr;
      call.ldc = task_strips() * nr;
    } else {
      call.c = c_ + i0 * g_.ldc + j;
      call.ldc = g_.ldc;
      if (p == 0 && g_.bias) call.bias = g_.bias + j;
      call.load = call.load || g_.accumulate;
    }
    return call;
  }

  // A strip of B for one task only: in place where it is read once or twice, else packed.
  void own_strip(TileCall<Tile>& call, Int strip, Int rows, Int p, Int count, P* packed_b) const {
    call.b = packed_b;
    call.bs = nr * Tile::step;
    if constexpr (same && Tile::step == 1)
      if (!g_.tb && rows <= 2 * mr && call.cols == nr) {
        call.b = b_ + p * g_.ldb + strip * nr;
        call.bs = g_.ldb;
        return;
      }
    pack_b(strip, p, count, packed_b);
  }

  // All rows of a task against one strip of B.
  void run_tiles(TileCall<Tile> call, Int i0, Int i1, Int p, Int count, const P* packed_a) const {
    const bool by_rows = from_ == AFrom::rows;
    const Int padded = round_up(count, Tile::step);
    Int next = mr * padded;                      // from a tile's rows of A to the next tile's
    call.a = packed_a;
    call.as = mr * Tile::step;
    if constexpr (same) {
      if (from_ != AFrom::packed) {
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
      for (Int j = j0; j < j1; ++j) {
        Out& c = c_[i * g_.ldc + j];
        T x = sums[(i - i0) * ld + j - j0];
        if (g_.bias) x += convert<T>(g_.bias[j]);
        if (g_.accumulate) x += convert<T>(c);
        c = narrow(x);
      }
  }

  const GemmArgs<In, Out>& g_;
  const In* a_;
  const In* b_;
  Out* c_;
  int threads_;
  Int kc_;                  // terms per chunk
  Int row_strips_, strips_; // tiles of C
  bool shared_;             // B is packed once for all tasks
  AFrom from_ = AFrom::packed;
  Int panel_, slab_;        // strips and terms of B packed at a time
  Int row_blocks_, column_blocks_;
  char* own_ = nullptr;     // a part per thread
  P* panel_data_ = nullptr;
};

// C when there is nothing to sum.
template <class T, class In, class Out>
void product_of_nothing(const GemmArgs<In, Out>& g, Out* c) {
  for (Int i = 0; i < g.m; ++i)
    for (Int j = 0; j < g.n; ++j) {
      T x = g.bias ? convert<T>(g.bias[j]) : T(0);
      if (g.accumulate) x += convert<T>(c[i * g.ldc + j]);
      if constexpr (std::is_same_v<Out, T>) c[i * g.ldc + j] = x;
      else c[i * g.ldc + j] = narrow(x);
    }
}

// A long sum into a small C: pieces of k, each a product of its own into scratch, then their sum in order.
constexpr Int split_above = 8192, split_piece = 4096, split_most = 64, split_elements = 128 * 128;

template <class In, class Out>
FM_INLINE bool is_split(const GemmArgs<In, Out>& g) {
  return g.k >= split_above && g.m * g.n <= split_elements;
}

template <class Tile, class In, class Out>
void split_product(const GemmArgs<In, Out>& g, Int item, int threads) {
  using T = typename Tile::Acc;
  const Int piece = larger(split_piece, round_up(ceil_div(g.k, split_most), split_piece)), pieces = ceil_div(g.k, piece);
  const Int size = g.m * g.n;
  T* sums = static_cast<T*>(thread_scratch(pieces * size * Int(sizeof(T)), Scratch::partial_sums));
  GemmArgs<In, T> all{g.m, g.n, g.k, g.a + item * g.stride_a, g.lda, g.ta, g.b + item * g.stride_b, g.ldb, g.tb, sums, g.n};
  all.alpha = g.alpha;
  const auto part = [&](Int i) {
    GemmArgs<In, T> one = all;
    const Int p = i * piece;
    one.k = smaller(piece, g.k - p);
    one.a += g.ta ? p * g.lda : p;
    one.b += g.tb ? p : p * g.ldb;
    one.c += i * size;
    return one;
  };
  // The last piece, with what is left of k, may have to pack where the others read in place.
  const GemmArgs<In, T> first = part(0), last = part(pieces - 1);
  const Int bytes = round_up(larger(Product<Tile, In, T>(first, 0, 1).scratch_bytes(), Product<Tile, In, T>(last, 0, 1).scratch_bytes()), 64);
  char* memory = static_cast<char*>(thread_scratch(threads * bytes, Scratch::product));
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
  for (Int i = 0; i < pieces; ++i) {
    const GemmArgs<In, T> one = part(i);
    Product<Tile, In, T>(one, 0, 1).run(memory + (threads > 1 ? omp_get_thread_num() : 0) * bytes);
  }
  Out* c = g.c + item * g.stride_c;
  for (Int i = 0; i < g.m; ++i)
    for (Int j = 0; j < g.n; ++j) {
      T x = sums[i * g.n + j];
      for (Int q = 1; q < pieces; ++q) x += sums[q * size + i * g.n + j];
      if (g.bias) x += convert<T>(g.bias[j]);
      if (g.accumulate) x += convert<T>(c[i * g.ldc + j]);
      if constexpr (std::is_same_v<Out, T>) c[i * g.ldc + j] = x;
      else c[i * g.ldc + j] = narrow(x);
    }
}

// A batch: small products one per thread, large ones one after another on all threads.
template <class Tile, class In, class Out>
void gemm(const GemmArgs<In, Out>& args) {
  using T = typename Tile::Acc;
  GemmArgs<In, Out> g = args;
  if (g.m <= 0 || g.n <= 0 || g.batch <= 0) return;
  // A batch that shares B and lies row after row is one taller product.
  if (g.batch > 1 && g.stride_b == 0 && !g.ta && g.stride_a == g.m * g.lda && g.stride_c == g.m * g.ldc) g.m *= g.batch, g.batch = 1;
  if (g.k <= 0) {
    for (Int q = 0; q < g.batch; ++q) product_of_nothing<T>(g, g.c + q * g.stride_c);
    return;
  }
  const double work = 2.0 * double(g.m) * double(g.n) * double(g.k);
  constexpr double worth_a_fork = 1e6, worth_sharing = 8e6;      // flops
  const int threads = work * double(g.batch) < worth_a_fork || omp_in_parallel() ? 1 : omp_get_max_threads();
  const bool split = is_split(g);
  const bool across = threads > 1 && g.batch > 1 && g.stride_c != 0 && !split && (work < worth_sharing || g.batch >= 4 * threads);
  if (across) {
    const Int bytes = round_up(Product<Tile, In, Out>(g, 0, 1).scratch_bytes(), 64);
    char* memory = static_cast<char*>(thread_scratch(threads * bytes, Scratch::product));
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (Int q = 0; q < g.batch; ++q) Product<Tile, In, Out>(g, q, 1).run(memory + omp_get_thread_num() * bytes);
    return;
  }
  const int inner = work < worth_a_fork ? 1 : threads;
  for (Int q = 0; q < g.batch; ++q) {
    if (split) {
      split_product<Tile>(g, q, inner);
      continue;
    }
    Product<Tile, In, Out> product(g, q, inner);
    product.run(static_cast<char*>(thread_scratch(product.scratch_bytes(), Scratch::product)));
  }
}

}  // namespace
}  // namespace fm::cpu::FM_ISA
