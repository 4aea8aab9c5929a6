// Attention of one head, a block of queries against a block of keys at a time (online softmax: Milakov and Gimelshein 2018,
// arXiv:1805.02867; tiled as in FlashAttention, Dao et al. 2022, arXiv:2205.14135). With S = scale q k^T, P = softmax(S):
//
//   forward    o_i = sum_j P_ij v_j                      saved: max_j S_ij, sum_j e^(S_ij - max)
//   tangent    dS = scale (dq k^T + q dk^T)              do_i = sum_j P_ij (dS_ij - t_i) v_j + P_ij dv_j,   t_i = sum_l P_il dS_il
//   backward   gS_ij = P_ij (go_i . v_j - go_i . o_i)    gq = scale gS k,   gk = scale gS^T q,   gv = P^T go
//
// Scores are computed in units of log 2: e^S = 2^(S / log 2) then costs no product. The running maximum is a constant shift of S and has no
// tangent. Backward recomputes P = e^(S - max) / sum.
#include "tensor/kernels/cpu/attention.h"

#include <omp.h>

#include "tensor/kernels/cpu/attention_product.h"
#include "tensor/kernels/cpu/attention_rows.h"
#include "tensor/kernels/cpu/integers.h"
#include "tensor/kernels/cpu/lane.h"
#include "tensor/kernels/cpu/scratch.h"
#include "tensor/math.h"

namespace fm::cpu::FM_ISA {
namespace {

constexpr double log2_e = 1.4426950408889634074;

// Returns the size of equal blocks that cover [0, n): at most `most`, then rounded up to a multiple of `unit`.
FM_INLINE Int block_size(Int n, Int most, Int unit) {
  return round_up(ceil_div(n, ceil_div(n, most)), unit);
}

constexpr Int forward_queries = 24, backward_queries = 48, most_keys = 320;

// Cuts a thread's part of the scratch memory into arrays. Without memory it only counts their elements.
template <class T>
struct Arena {
  T* next = nullptr;
  Int used = 0;
  FM_INLINE T* take(Int n) {
    const Int padded = (n + 15) / 16 * 16 + 16;
    T* p = next ? next + used : nullptr;
    used += padded;
    return p;
  }
  FM_INLINE Packed<T> packed(Int terms, Int columns) { return {take(terms * Tiles<T>::padded(columns)), terms, columns}; }
};

template <class T>
struct Blocks {
  Int queries, keys, ld;  // size of a tile of scores, and its leading dimension, which is no multiple of the page size
  FM_INLINE Blocks(const Attention<T>& a, Int most_queries)
      : queries(block_size(a.queries, most_queries, tile_rows)), keys(block_size(a.keys, most_keys, Tiles<T>::wide)), ld(keys + 16) {}
};

template <class T>
FM_INLINE void scale_row(T* x, Int n, T by) {
  Lane{}.each(n, [&](Int i) { x[i] *= by; });
}

// The forward pass of one head, with the tangent if Tangent is true.
template <class T, bool Tangent>
struct Forward {
  const Attention<T>& a;
  const AttentionTangent<T>* t;
  Blocks<T> block;
  Packed<T> k, v, dk, dv;
  T *s, *ds;                // (block.queries, block.ld). s: scores, then e^(s - max). ds: tangents of the scores, later multiplied by e^(s - max)
  T *top, *sum, *tangent;   // (block.queries): running maximum, sum of e^(s - max), sum of e^(s - max) ds

  Forward(const Attention<T>& args, const AttentionTangent<T>* tangents, Arena<T>& memory)
      : a(args), t(tangents), block(args, forward_queries) {
    k = memory.packed(a.dim, a.keys);
    v = memory.packed(a.keys, a.dim);
    s = memory.take(block.queries * block.ld);
    top = memory.take(block.queries);
    sum = memory.take(block.queries);
    if constexpr (!Tangent) return;
    if (t->dk.data) dk = memory.packed(a.dim, a.keys);
    if (t->dv.data) dv = memory.packed(a.keys, a.dim);
    ds = memory.take(block.queries * block.ld);
    tangent = memory.take(block.queries);
  }

  void run(Int b, Int h) {
    pack_transposed(a.k.at(b, h), a.k.token, k);
    pack_as_is(a.v.at(b, h), a.v.token, v);
    if constexpr (Tangent) {
      if (t->dk.data) pack_transposed(t->dk.at(b, h), t->dk.token, dk);
      if (t->dv.data) pack_as_is(t->dv.at(b, h), t->dv.token, dv);
    }
    for (Int i = 0; i < a.queries; i += block.queries) queries(b, h, i, smaller(block.queries, a.queries - i));
  }

  void queries(Int b, Int h, Int i0, Int rows) {
    T* o = a.o.at(b, h) + i0 * a.o.token;
    T* d_o = nullptr;
    if constexpr (Tangent) d_o = t->d_o.at(b, h) + i0 * t->d_o.token;
    for (Int j = 0; j < a.keys; j += block.keys) {
      const Int end = smaller(j + block.keys, a.keys);
      scores(b, h, i0, rows, j, end);
      for (Int r = 0; r < rows; ++r) weights(r, end - j, j == 0, o + r * a.o.token, d_o);
      accumulate(rows, j, end, o, d_o);
    }
    finish(b, h, i0, rows, o, d_o);
  }

  void scores(Int b, Int h, Int i0, Int rows, Int j, Int end) {
    const Operand<T> q{a.q.at(b, h) + i0 * a.q.token, a.q.token};
    product(q, rows, k, 0, a.dim, j, end, s, block.ld, T(a.scale * log2_e), false);
    if constexpr (Tangent) {
      if (t->dq.data) {
        const Operand<T> dq{t->dq.at(b, h) + i0 * t->dq.token, t->dq.token};
        product(dq, rows, k, 0, a.dim, j, end, ds, block.ld, a.scale, false);
      }
      if (t->dk.data) product(q, rows, dk, 0, a.dim, j, end, ds, block.ld, a.scale, t->dq.data != nullptr);
    }
  }

  FM_INLINE bool scores_move() const { return t->dq.data || t->dk.data; }

  // Replaces row r of the tile by e^(s - max), and rescales earlier sums to the new maximum.
  void weights(Int r, Int n, bool first, T* o, T* d_o) {
    T* x = s + r * block.ld;
    const T before = first ? T(0) : top[r];
    const Int padded = padded_row<T>(n);
    pad_row(x, n, -std::numeric_limits<T>::infinity());
    T m = row_max(x, padded);
    if (!first) m = math::max(before, m);
    Lane{}.each(padded, [&](Int i) { x[i] = math::exp2_nonpositive(x[i] - m); });
    const T total = row_sum(x, padded);
    T moved = T(0);
    if constexpr (Tangent) {
      T* dx = ds + r * block.ld;
      pad_row(dx, n, T(0));
      if (scores_move()) moved = row_weight(x, dx, padded);
    }
    top[r] = m;
    if (first) {
      sum[r] = total;
      if constexpr (Tangent) tangent[r] = moved;
      return;
    }
    const T keep = math::exp2_nonpositive(before - m);
    sum[r] = sum[r] * keep + total;
    scale_row(o, a.dim, keep);
    if constexpr (Tangent) {
      tangent[r] = tangent[r] * keep + moved;
      scale_row(d_o + r * t->d_o.token, a.dim, keep);
    }
  }

  void accumulate(Int rows, Int j, Int end, T* o, T* d_o) {
    const Operand<T> p{s, block.ld};
    bool add = j > 0;
    product(p, rows, v, j, end - j, 0, a.dim, o, a.o.token, T(1), add);
    if constexpr (Tangent) {
      const Int ld = t->d_o.token;
      if (scores_move()) product({ds, block.ld}, rows, v, j, end - j, 0, a.dim, d_o, ld, T(1), add), add = true;
      if (t->dv.data) product(p, rows, dv, j, end - j, 0, a.dim, d_o, ld, T(1), add), add = true;
      if (!add)
        for (Int r = 0; r < rows; ++r) Lane{}.each(a.dim, [&](Int d) { d_o[r * ld + d] = T(0); });
    }
  }

  void finish(Int b, Int h, Int i0, Int rows, T* o, T* d_o) {
    if (a.sums) {
      T *tops = a.sums + (b * a.heads + h) * 2 * a.queries + i0, *sums = tops + a.queries;
      Lane{}.each(rows, [&](Int r) { tops[r] = top[r]; });
      Lane{}.each(rows, [&](Int r) { sums[r] = sum[r]; });
    }
    Lane{}.each(rows, [&](Int r) { sum[r] = T(1) / sum[r]; });
    for (Int r = 0; r < rows; ++r) {
      const T inverse = sum[r];
      T* out = o + r * a.o.token;
      scale_row(out, a.dim, inverse);
      if constexpr (Tangent) {
        T* d_out = d_o + r * t->d_o.token;
        const T mean = tangent[r] * inverse;
        Lane{}.each(a.dim, [&](Int d) { d_out[d] = d_out[d] * inverse - mean * out[d]; });
      }
    }
  }
};

// The backward pass of one head.
template <class T>
struct Backward {
  const Attention<T>& a;
  const AttentionGradient<T>& g;
  Blocks<T> block;
  Packed<T> k_columns, v_columns;  // (dim, keys): for the scores and for go v^T
  Packed<T> k_rows, q_rows, go_rows;
  T *s, *gs;                       // (block.queries, block.ld): P and scale gS

  Backward(const Attention<T>& args, const AttentionGradient<T>& gradients, Arena<T>& memory)
      : a(args), g(gradients), block(args, backward_queries) {
    k_columns = memory.packed(a.dim, a.keys);
    v_columns = memory.packed(a.dim, a.keys);
    k_rows = memory.packed(a.keys, a.dim);
    q_rows = memory.packed(a.queries, a.dim);
    go_rows = memory.packed(a.queries, a.dim);
    s = memory.take(block.queries * block.ld);
    gs = memory.take(block.queries * block.ld);
  }

  FM_INLINE bool scores_wanted() const { return g.gq.data || g.gk.data; }

  void run(Int b, Int h) {
    pack_transposed(a.k.at(b, h), a.k.token, k_columns);
    if (scores_wanted()) pack_transposed(a.v.at(b, h), a.v.token, v_columns);
    if (g.gq.data) pack_as_is(a.k.at(b, h), a.k.token, k_rows);
    if (g.gk.data) pack_as_is(a.q.at(b, h), a.q.token, q_rows);
    if (g.gv.data) pack_as_is(g.go.at(b, h), g.go.token, go_rows);
    for (Int i = 0; i < a.queries; i += block.queries)
      for (Int j = 0; j < a.keys; j += block.keys)
        tile(b, h, i, smaller(block.queries, a.queries - i), j, smaller(j + block.keys, a.keys));
  }

  void tile(Int b, Int h, Int i, Int rows, Int j, Int end) {
    const Operand<T> q{a.q.at(b, h) + i * a.q.token, a.q.token}, go{g.go.at(b, h) + i * g.go.token, g.go.token};
    product(q, rows, k_columns, 0, a.dim, j, end, s, block.ld, T(a.scale * log2_e), false);
    if (scores_wanted()) product(go, rows, v_columns, 0, a.dim, j, end, gs, block.ld, T(1), false);
    for (Int r = 0; r < rows; ++r) weights(b, h, i + r, r, end - j);

    const Operand<T> p_transposed{s, block.ld, true}, gs_rows{gs, block.ld}, gs_transposed{gs, block.ld, true};
    if (g.gv.data)
      product(p_transposed, end - j, go_rows, i, rows, 0, a.dim, g.gv.at(b, h) + j * g.gv.token, g.gv.token, T(1), i > 0);
    if (g.gk.data)
      product(gs_transposed, end - j, q_rows, i, rows, 0, a.dim, g.gk.at(b, h) + j * g.gk.token, g.gk.token, T(1), i > 0);
    if (g.gq.data)
      product(gs_rows, rows, k_rows, j, end - j, 0, a.dim, g.gq.at(b, h) + i * g.gq.token, g.gq.token, T(1), j > 0);
  }

  // Computes row r of the tile, for query i: P = e^(S - max) / sum, scale gS = scale P (go v^T - go . o).
  void weights(Int b, Int h, Int i, Int r, Int n) {
    const T *go = g.go.at(b, h) + i * g.go.token, *o = a.o.at(b, h) + i * a.o.token;
    const T* sums = a.sums + (b * a.heads + h) * 2 * a.queries + i;
    const T top = sums[0], inverse = T(1) / sums[a.queries];
    T* x = s + r * block.ld;
    if (!scores_wanted()) {
      Lane{}.each(n, [&](Int c) { x[c] = math::exp2_nonpositive(x[c] - top) * inverse; });
      return;
    }
    const T mean = Lane{}.sum(a.dim, [&](Int d) { return go[d] * o[d]; }), scale = a.scale;
    T* gx = gs + r * block.ld;
    Lane{}.each(n, [&](Int c) {
      const T p = math::exp2_nonpositive(x[c] - top) * inverse;
      x[c] = p;
      gx[c] = p * (gx[c] - mean) * scale;
    });
  }
};

// Runs make(arena).run(b, h) for every head, each thread on its own part of the caller's scratch memory.
template <class T, class Make>
FM_INLINE void each_head(const Attention<T>& a, const Make& make) {
  Arena<T> counter;
  make(counter);
  const Int part = (counter.used * Int(sizeof(T)) + 63) / 64 * 64 + 64, heads = a.batch * a.heads;
  const bool worth = heads > 1 && heads * a.queries * a.keys * a.dim > 65536 && !omp_in_parallel();
  const int threads = worth ? omp_get_max_threads() : 1;
  char* memory = static_cast<char*>(thread_scratch(threads * part));
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    Arena<T> mine{reinterpret_cast<T*>(memory + (threads > 1 ? omp_get_thread_num() : 0) * part)};
    auto head = make(mine);
#pragma omp for schedule(static)
    for (Int i = 0; i < heads; ++i) head.run(i / a.heads, i % a.heads);
  }
}

template <class T> void forward(const Attention<T>& a) {
  each_head(a, [&](Arena<T>& memory) { return Forward<T, false>(a, nullptr, memory); });
}
template <class T> void forward_tangent(const Attention<T>& a, const AttentionTangent<T>& t) {
  each_head(a, [&](Arena<T>& memory) { return Forward<T, true>(a, &t, memory); });
}
template <class T> void backward(const Attention<T>& a, const AttentionGradient<T>& g) {
  each_head(a, [&](Arena<T>& memory) { return Backward<T>(a, g, memory); });
}

}  // namespace

const AttentionKernels& attention_kernels() {
  static constexpr AttentionKernels table{{forward<float>, forward_tangent<float>, backward<float>},
                                          {forward<double>, forward_tangent<double>, backward<double>}};
  return table;
}

}  // namespace fm::cpu::FM_ISA
