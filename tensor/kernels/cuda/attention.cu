// Streaming attention on a GPU, on plain multiply-adds (attention_tiles.cuh). A block computes results for its own rows and
// passes over the other ("met") rows:
//
//   forward    own queries, met keys: s = scale q k, running maximum m, p = e^(s - m), l = sum p,  o = sum p v / l
//   tangent    in the same sweep:     ds = scale (dq k + q dk),  do = (sum p dv + p ds v - o sum p ds) / l
//   queries    own queries, met keys: p = e^(s - m) / l,  ds = p (go v - delta),  gq = scale sum ds k,  delta = sum go o
//   keys       own keys, met queries: gk = scale sum ds q,  gv = sum p go
//
// The shift by m is constant and has no tangent.
// Scores are in units of log 2, as on the CPU. There are no float atomics: one thread sums each element, always in the same order.
#include <limits>
#include <string>

#include "tensor/error.h"
#include "tensor/kernels/cuda/attention_tiles.cuh"
#include "tensor/kernels/cuda/lane.cuh"
#include "tensor/kernels/cuda/launch.h"
#include "tensor/kernels/cuda/runtime.h"
#include "tensor/kernels/cuda/tables.h"
#include "tensor/math.h"
#include "tensor/memory/allocator.h"

namespace fm::cuda {
namespace {

using namespace attention;

constexpr double log2_e = 1.4426950408889634074;

// 0 (for f32) lets the compiler choose the number of registers. For f64 it would spill registers unless it may assume one block per multiprocessor.
template <class T>
constexpr int blocks_wanted = sizeof(T) == 8 ? 1 : 0;

template <class T, bool tangent, int columns, int rows>
using ForwardBlock = Block<T, columns, rows, tangent ? 2 : 1, tangent ? 2 : 1, tangent ? 2 : 1>;

template <class T, bool tangent, int columns, int rows>
__global__ void __launch_bounds__(block_threads, blocks_wanted<T>) forward_kernel(Attention<T> a, AttentionTangent<T> t) {
  FM_SHARED(Pack<T>, packs);
  const ForwardBlock<T, tangent, columns, rows> block{packs->x, static_cast<int>(a.dim)};
  constexpr int n = tangent ? 2 : 1;  // tiles of each kind: the values, and the tangents
  const Count tiles = (a.queries + block.own_rows - 1) / block.own_rows;
  const T scale = static_cast<T>(a.scale * log2_e);
  for (Count job = blockIdx.x; job < a.batch * a.heads * tiles; job += gridDim.x) {
    const Count b = job / tiles / a.heads, h = job / tiles % a.heads, first = job % tiles * block.own_rows;
    block.load_own(0, head_rows(a.q, b, h), first, a.queries);
    HeadRows<const T> keys[n], values[n];
    keys[0] = head_rows(a.k, b, h);
    values[0] = head_rows(a.v, b, h);
    if constexpr (tangent) {
      block.load_own(1, head_rows(t.dq, b, h), first, a.queries);
      keys[1] = head_rows(t.dk, b, h);
      values[1] = head_rows(t.dv, b, h);
    }
    // The results o and d_o, a lane's part of the sums l and `moved` (of p ds), and the maximum m.
    Pack<T> o[columns][rows] = {}, d_o[tangent ? columns : 1][rows] = {};
    T l[rows] = {}, moved[rows] = {}, m[rows], s[rows][met_per_lane], ds[rows][met_per_lane];
    FM_UNROLL
    for (int i = 0; i < rows; ++i) m[i] = -std::numeric_limits<T>::infinity();
    block.meet(
        a.keys, keys, values,
        [&](Count) {
          FM_UNROLL
          for (int i = 0; i < rows; ++i) {
            FM_UNROLL
            for (int j = 0; j < met_per_lane; ++j) s[i][j] = ds[i][j] = T(0);
          }
        },
        [&](int c, int buffer) {
          block.add_scores(s, 0, 0, c, buffer);
          if constexpr (tangent) {
            block.add_scores(ds, 1, 0, c, buffer);
            block.add_scores(ds, 0, 1, c, buffer);
          }
        },
        [&](Count k0) {
          FM_UNROLL
          for (int i = 0; i < rows; ++i) {
            T next = m[i];
            FM_UNROLL
            for (int j = 0; j < met_per_lane; ++j) {
              s[i][j] = k0 + block.met_row(j) < a.keys ? scale * s[i][j] : -std::numeric_limits<T>::infinity();
              next = s[i][j] > next ? s[i][j] : next;
            }
            next = row_max(next);
            const T shrink = math::exp2_nonpositive(m[i] - next);
            m[i] = next;
            l[i] *= shrink;
            moved[i] *= shrink;
            FM_UNROLL
            for (int j = 0; j < met_per_lane; ++j) {
              const T p = math::exp2_nonpositive(s[i][j] - next);
              block.weight(0, i, j) = p;
              l[i] += p;
              if constexpr (tangent) {
                const T slope = p * (a.scale * ds[i][j]);
                block.weight(1, i, j) = slope;
                moved[i] += slope;
              }
            }
            FM_UNROLL
            for (int c = 0; c < columns; ++c) {
              FM_UNROLL
              for (int u = 0; u < block.pack; ++u) {
                o[c][i].x[u] *= shrink;
                if constexpr (tangent) d_o[c][i].x[u] *= shrink;
              }
            }
          }
        },
        [&](auto c, int buffer, int met) {
          block.add_rows(o[c.value], 0, 0, met, buffer);
          if constexpr (tangent) {
            block.add_rows(d_o[c.value], 0, 1, met, buffer);
            block.add_rows(d_o[c.value], 1, 0, met, buffer);
          }
        });
    FM_UNROLL
    for (int i = 0; i < rows; ++i) {
      l[i] = row_sum(l[i]);
      if constexpr (tangent) moved[i] = row_sum(moved[i]) / l[i];
      const Count q = first + block.own_row(i);
      if (a.sums && block.x == 0 && q < a.queries) {
        T* sums = a.sums + (b * a.heads + h) * 2 * a.queries + q;
        sums[0] = m[i];
        sums[a.queries] = l[i];
      }
      l[i] = T(1) / l[i];
    }
    const HeadRows<T> out = head_rows(a.o, b, h), d_out = head_rows(t.d_o, b, h);
    block.each_result(first, a.queries, [&](Count q, int column, int i, int c, int u) {
      const T value = o[c][i].x[u] * l[i];
      out.row(q)[column] = value;
      if constexpr (tangent) d_out.row(q)[column] = d_o[c][i].x[u] * l[i] - moved[i] * value;
    });
  }
}

// delta (B, H, N) = sum over d of go o, a warp for each row.
template <class T>
__global__ void __launch_bounds__(block_threads) delta_kernel(Attention<T> a, Heads<const T> go, T* delta) {
  const WarpLane lane{static_cast<int>(threadIdx.x % 32)};
  const Count n = a.batch * a.heads * a.queries;
  for (Count i = static_cast<Count>(blockIdx.x) * warps + threadIdx.x / 32; i < n; i += static_cast<Count>(gridDim.x) * warps) {
    const Count b = i / a.queries / a.heads, h = i / a.queries % a.heads, q = i % a.queries;
    const T *x = head_rows(go, b, h).row(q), *y = head_rows(a.o, b, h).row(q);
    const T sum = lane.sum(a.dim, [&](Count c) { return x[c] * y[c]; });
    if (lane.lane == 0) delta[i] = sum;
  }
}

template <class T, bool of_queries, int columns, int rows>
using BackwardBlock = Block<T, columns, rows, 2, 2, of_queries ? 1 : 2>;

// Computes gq if of_queries, with queries for own rows, else gk and gv, with keys for own rows. The first own tile is q or k, the second go or v.
template <class T, bool of_queries, int columns, int rows>
__global__ void __launch_bounds__(block_threads, blocks_wanted<T>) backward_kernel(Attention<T> a, AttentionGradient<T> g, const T* delta) {
  FM_SHARED(Pack<T>, packs);
  const BackwardBlock<T, of_queries, columns, rows> block{packs->x, static_cast<int>(a.dim)};
  const Count own = of_queries ? a.queries : a.keys, met = of_queries ? a.keys : a.queries,
              tiles = (own + block.own_rows - 1) / block.own_rows;
  const T scale = static_cast<T>(a.scale * log2_e);
  for (Count job = blockIdx.x; job < a.batch * a.heads * tiles; job += gridDim.x) {
    const Count b = job / tiles / a.heads, h = job / tiles % a.heads, first = job % tiles * block.own_rows;
    const HeadRows<const T> q = head_rows(a.q, b, h), k = head_rows(a.k, b, h), v = head_rows(a.v, b, h), go = head_rows(g.go, b, h);
    const T *sums_of = a.sums + (b * a.heads + h) * 2 * a.queries, *delta_of = delta + (b * a.heads + h) * a.queries;
    block.load_own(0, of_queries ? q : k, first, own);
    block.load_own(1, of_queries ? go : v, first, own);
    const HeadRows<const T> scored[2] = {of_queries ? k : q, of_queries ? v : go};
    const HeadRows<const T> summed[2] = {of_queries ? k : q, of_queries ? HeadRows<const T>{} : go};
    // Maximum, 1 / sum and delta of the lane's queries, which are its own rows or the met rows. If they are its own rows, the results are divided
    // by the sum at the end instead, which saves registers.
    constexpr int queries = of_queries ? rows : met_per_lane;
    T top[queries], inverse[of_queries ? 1 : queries], mean[queries];
    const auto read_query = [&](int i, Count n) {
      top[i] = n < a.queries ? sums_of[n] : T(0);
      if constexpr (!of_queries) inverse[i] = n < a.queries ? T(1) / sums_of[a.queries + n] : T(0);
      mean[i] = n < a.queries ? delta_of[n] : T(0);
    };
    if constexpr (of_queries) {
      FM_UNROLL
      for (int i = 0; i < rows; ++i) read_query(i, first + block.own_row(i));
    }
    Pack<T> g_first[columns][rows] = {}, g_second[of_queries ? 1 : columns][rows] = {};
    T s[rows][met_per_lane], ds[rows][met_per_lane];
    block.meet(
        met, scored, summed,
        [&](Count m) {
          FM_UNROLL
          for (int i = 0; i < rows; ++i) {
            FM_UNROLL
            for (int j = 0; j < met_per_lane; ++j) s[i][j] = ds[i][j] = T(0);
          }
          if constexpr (!of_queries) {
            FM_UNROLL
            for (int j = 0; j < met_per_lane; ++j) read_query(j, m + block.met_row(j));
          }
        },
        [&](int c, int buffer) {
          block.add_scores(s, 0, 0, c, buffer);
          block.add_scores(ds, 1, 1, c, buffer);
        },
        [&](Count m) {
          FM_UNROLL
          for (int i = 0; i < rows; ++i) {
            FM_UNROLL
            for (int j = 0; j < met_per_lane; ++j) {
              const int query = of_queries ? i : j;
              T p = m + block.met_row(j) < met ? math::exp2_nonpositive(scale * s[i][j] - top[query]) : T(0);
              if constexpr (!of_queries) p *= inverse[query];
              block.weight(0, i, j) = p * (ds[i][j] - mean[query]);
              if constexpr (!of_queries) block.weight(1, i, j) = p;
            }
          }
        },
        [&](auto c, int buffer, int n) {
          block.add_rows(g_first[c.value], 0, 0, n, buffer);
          if constexpr (!of_queries) block.add_rows(g_second[c.value], 1, 1, n, buffer);
        });
    const HeadRows<T> out = head_rows(of_queries ? g.gq : g.gk, b, h), second = head_rows(g.gv, b, h);
    block.each_result(first, own, [&](Count n, int column, int i, int c, int u) {
      if (out.data) out.row(n)[column] = (of_queries ? a.scale / sums_of[a.queries + n] : a.scale) * g_first[c][i].x[u];
      if constexpr (!of_queries) {
        if (second.data) second.row(n)[column] = g_second[c][i].x[u];
      }
    });
  }
}

// ---- launches -----------------------------------------------------------------------------------------

constexpr Count widest = 256;
constexpr int most_shared = 99 << 10;  // bytes of shared memory that a block can have on every GPU since sm_80

template <class T>
void check_width(const Attention<T>& a) {
  if (a.dim > widest)
    throw DeviceError("attention on a GPU: heads of width " + std::to_string(a.dim) + "; at most " + std::to_string(widest) +
                      " is possible: use more heads, or the CPU");
}

template <int n>
struct Constant {
  static constexpr int value = n;
};

// Calls f(columns, rows) with constants. columns is the smallest available number of chunks that is enough. rows is 4, or less if the results would
// not fit into registers. `results`: the number of arrays of results of the kernel.
template <class T, int results, class F>
void with_tiles(Count dim, const F& f) {
  if constexpr (sizeof(T) == 8) {  // f64 is used for checks only
    if (dim <= 64)
      f(Constant<4>{}, Constant<1>{});
    else
      f(Constant<16>{}, Constant<1>{});
  } else {
    if (dim <= 64)
      f(Constant<2>{}, Constant<4>{});
    else if (dim <= 96)
      f(Constant<3>{}, Constant<4>{});
    else if (dim <= 128)
      f(Constant<4>{}, Constant < results == 1 ? 4 : 2 > {});
    else
      f(Constant<8>{}, Constant<2>{});
  }
}

// Launches a block for each tile of own rows of each head; a head has `rows` rows.
template <class Block, class... Parameters, class... Args>
void start(Count heads, Count rows, void (*kernel)(Parameters...), const Args&... args) {
  static_assert(Block::bytes <= most_shared);
  const Count jobs = heads * ((rows + Block::own_rows - 1) / Block::own_rows);
  if (jobs == 0) return;
  if (Block::bytes > 48 << 10)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Block::bytes), "cudaFuncSetAttribute");
  launch(current_stream(), dim3(static_cast<unsigned>(jobs < 1048576 ? jobs : 1048576)), dim3(block_threads), Block::bytes, kernel,
         args...);
}

template <class T, bool tangent>
void forward(const Attention<T>& a, const AttentionTangent<T>& t) {
  check_width(a);
  with_tiles<T, tangent ? 2 : 1>(a.dim, [&](auto columns, auto rows) {
    constexpr int c = decltype(columns)::value, r = decltype(rows)::value;
    start<ForwardBlock<T, tangent, c, r>>(a.batch * a.heads, a.queries, forward_kernel<T, tangent, c, r>, a, t);
  });
}
template <class T>
void forward_value(const Attention<T>& a) {
  forward<T, false>(a, {});
}

template <class T, bool of_queries>
void backward(const Attention<T>& a, const AttentionGradient<T>& g, const T* delta) {
  with_tiles<T, 2>(a.dim, [&](auto columns, auto rows) {
    constexpr int c = decltype(columns)::value, r = decltype(rows)::value;
    start<BackwardBlock<T, of_queries, c, r>>(a.batch * a.heads, of_queries ? a.queries : a.keys, backward_kernel<T, of_queries, c, r>, a,
                                              g, delta);
  });
}
template <class T>
void gradients(const Attention<T>& a, const AttentionGradient<T>& g) {
  check_width(a);
  const Count n = a.batch * a.heads * a.queries, blocks = (n + warps - 1) / warps;
  const auto memory = allocate(static_cast<std::size_t>(n) * sizeof(T), Device::cuda(current_device()));
  T* delta = reinterpret_cast<T*>(memory.get());
  if (n > 0)
    launch(current_stream(), dim3(static_cast<unsigned>(blocks < 1048576 ? blocks : 1048576)), dim3(block_threads), 0, delta_kernel<T>, a,
           g.go, delta);
  if (g.gq.data) backward<T, true>(a, g, delta);
  if (g.gk.data || g.gv.data) backward<T, false>(a, g, delta);
}

template <class T>
AttentionTable<T> table() {
  return {forward_value<T>, forward<T, true>, gradients<T>};
}

}  // namespace

const AttentionKernels& attention_kernels() {
  static const AttentionKernels tables{table<float>(), table<double>()};
  return tables;
}

}  // namespace fm::cuda
