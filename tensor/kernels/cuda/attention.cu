// Streaming attention on a GPU, on plain multiply-adds. A block has four warps and a tile of rows ("own"), four for each warp; it walks over the
// others ("met") 32 at a time, one for each lane, whose rows all warps share. For one own row and 32 met ones every lane computes its score, then
// the lanes hand them round while each adds up its own columns of the result. So forward and gradients are one shape of loop:
//
//   forward     own queries, met keys:  s = scale q k,  running maximum m and l = sum e^(s - m),  o = sum e^(s - m) v / l
//   tangent     in the same sweep:      ds = scale (dq k + q dk),  do = sum p (dv + ds v) - o sum p ds      (a constant shift by m has no tangent)
//   gq          own queries, met keys:  p = e^(s - lse),  ds = p (go v - delta),  gq = scale sum ds k,      delta = sum go o
//   gk, gv      own keys, met queries:  gk = scale sum ds q,  gv = sum p go
//
// No float atomics: every element is added up by one thread in one order.
#include <string>

#include "tensor/error.h"
#include "tensor/kernels/cuda/lane.cuh"
#include "tensor/kernels/cuda/launch.h"
#include "tensor/kernels/cuda/runtime.h"
#include "tensor/kernels/cuda/tables.h"
#include "tensor/math.h"
#include "tensor/memory/allocator.h"

namespace fm::cuda {
namespace {

using Count = std::int64_t;

constexpr int warps = 4, own_per_warp = 4, own_rows = warps * own_per_warp, met_rows = 32, block_threads = 32 * warps;
constexpr std::size_t most_shared = std::size_t{96} << 10;       // of the 99 KiB that a block of sm_86 may have, the least of all since sm_80

// Where rows of one (batch, head) lie. Null: zeros to read, nothing to write.
template <class T> struct HeadRows {
  T* data = nullptr;
  Count token = 0;
  __device__ T* row(Count n) const { return data + n * token; }
};
template <class T> __device__ HeadRows<T> head_rows(const Heads<T>& h, Count b, Count head) {
  return {h.data ? h.data + b * h.batch + head * h.head : nullptr, h.token};
}

// Rows begin .. begin + count - 1 into shared memory, `pitch` apart; rows from `end` on, and those of a null source, as zeros.
template <class T, class Shared> __device__ void load_rows(const Shared& to, HeadRows<const T> from, Count begin, int count, Count end, int dim, int pitch) {
  for (int i = threadIdx.x; i < count * dim; i += block_threads) {
    const int r = i / dim, c = i % dim;
    to[r * pitch + c] = from.data && begin + r < end ? from.row(begin + r)[c] : T(0);
  }
}

template <class T, class Shared> __device__ T dot(const Shared& a, int at_a, const Shared& b, int at_b, int dim) {
  T sum = T(0);
  for (int c = 0; c < dim; ++c) sum += T(a[at_a + c]) * T(b[at_b + c]);
  return sum;
}

template <class T> __device__ T warp_sum(T x) {
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(whole_warp, x, distance);
  return x;
}
template <class T> __device__ T warp_max(T x) {
  for (int distance = 16; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(whole_warp, x, distance);
    x = other > x ? other : x;
  }
  return x;
}

// Pieces of shared memory, in rows of `pitch` elements (odd: 32 lanes on 32 rows meet 32 banks).
template <class T> struct Tiles {

  static std::size_t bytes(int own_tiles, int met_tiles, Count dim) {
    return static_cast<std::size_t>(own_tiles * own_rows + met_tiles * met_rows) * static_cast<std::size_t>(dim | 1) * sizeof(T);
  }
};

// columns: how many of the `dim` columns a lane owns (columns lane, lane + 32, ...).
template <class T, bool with_tangent, int columns>
__global__ void forward_kernel(Attention<T> a, AttentionTangent<T> t) {
  FM_SHARED(T, shared);
  const int dim = static_cast<int>(a.dim), pitch = dim | 1, lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int at_q = 0, at_dq = own_rows * pitch, at_k = (with_tangent ? 2 : 1) * own_rows * pitch, at_dk = at_k + met_rows * pitch;
  const Count tiles = (a.queries + own_rows - 1) / own_rows;
  for (Count job = blockIdx.x; job < a.batch * a.heads * tiles; job += gridDim.x) {
    const Count b = job / tiles / a.heads, h = job / tiles % a.heads, first = job % tiles * own_rows;
    load_rows(shared + at_q, head_rows(a.q, b, h), first, own_rows, a.queries, dim, pitch);
    if (with_tangent) load_rows(shared + at_dq, head_rows(t.dq, b, h), first, own_rows, a.queries, dim, pitch);
    T o[own_per_warp][columns] = {}, d_o[own_per_warp][with_tangent ? columns : 1] = {}, m[own_per_warp], l[own_per_warp] = {}, weighted[own_per_warp] = {};
    for (T& x : m) x = -std::numeric_limits<T>::infinity();
    for (Count k0 = 0; k0 < a.keys; k0 += met_rows) {
      __syncthreads();
      load_rows(shared + at_k, head_rows(a.k, b, h), k0, met_rows, a.keys, dim, pitch);
      if (with_tangent) load_rows(shared + at_dk, head_rows(t.dk, b, h), k0, met_rows, a.keys, dim, pitch);
      __syncthreads();
      T p[own_per_warp], ds[own_per_warp];
      for (int r = 0; r < own_per_warp; ++r) {
        const int own = (warp * own_per_warp + r) * pitch, met = lane * pitch;
        const bool there = k0 + lane < a.keys;
        const T s = there ? a.scale * dot<T>(shared, at_q + own, shared, at_k + met, dim) : -std::numeric_limits<T>::infinity();
        ds[r] = T(0);
        if (with_tangent && there)
          ds[r] = a.scale * (dot<T>(shared, at_dq + own, shared, at_k + met, dim) + dot<T>(shared, at_q + own, shared, at_dk + met, dim));
        const T highest = warp_max(s), next = highest > m[r] ? highest : m[r];
        const T shrink = m[r] > -std::numeric_limits<T>::infinity() ? math::exp_nonpositive(m[r] - next) : T(0);
        p[r] = there ? math::exp_nonpositive(s - next) : T(0);
        m[r] = next;
        l[r] = l[r] * shrink + warp_sum(p[r]);
        for (int c = 0; c < columns; ++c) o[r][c] *= shrink;
        if (with_tangent) {
          weighted[r] = weighted[r] * shrink + warp_sum(p[r] * ds[r]);
          for (int c = 0; c < columns; ++c) d_o[r][with_tangent ? c : 0] *= shrink;
        }
      }
      __syncthreads();                                       // the keys' place becomes the values'
      load_rows(shared + at_k, head_rows(a.v, b, h), k0, met_rows, a.keys, dim, pitch);
      if (with_tangent) load_rows(shared + at_dk, head_rows(t.dv, b, h), k0, met_rows, a.keys, dim, pitch);
      __syncthreads();
      for (int r = 0; r < own_per_warp; ++r)
        for (int j = 0; j < met_rows; ++j) {
          const T weight = __shfl_sync(whole_warp, p[r], j), slope = with_tangent ? __shfl_sync(whole_warp, ds[r], j) : T(0);
          for (int c = 0; c < columns; ++c) {
            const int column = lane + 32 * c;
            if (column >= dim) break;
            const T v = shared[at_k + j * pitch + column];
            o[r][c] += weight * v;
            if (with_tangent) d_o[r][with_tangent ? c : 0] += weight * (T(shared[at_dk + j * pitch + column]) + slope * v);
          }
        }
    }
    for (int r = 0; r < own_per_warp; ++r) {
      const Count n = first + warp * own_per_warp + r;
      if (n >= a.queries) break;
      for (int c = 0; c < columns; ++c) {
        const int column = lane + 32 * c;
        if (column >= dim) break;
        const T value = o[r][c] / l[r];
        head_rows(a.o, b, h).row(n)[column] = value;
        if (with_tangent) head_rows(t.d_o, b, h).row(n)[column] = (d_o[r][with_tangent ? c : 0] - value * weighted[r]) / l[r];
      }
      if (a.lse && lane == 0) a.lse[(b * a.heads + h) * a.queries + n] = m[r] + math::log(l[r]);
    }
    __syncthreads();
  }
}

// delta (B, H, N) = sum over d of go o, one warp a row.
template <class T> __global__ void delta_kernel(Attention<T> a, Heads<const T> go, T* delta) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const Count n = a.batch * a.heads * a.queries;
  for (Count i = static_cast<Count>(blockIdx.x) * warps + threadIdx.x / 32; i < n; i += static_cast<Count>(gridDim.x) * warps) {
    const Count b = i / a.queries / a.heads, h = i / a.queries % a.heads, q = i % a.queries;
    const T *x = head_rows(go, b, h).row(q), *y = head_rows(a.o, b, h).row(q);
    T sum = T(0);
    for (Count c = lane; c < a.dim; c += 32) sum += x[c] * y[c];
    sum = warp_sum(sum);
    if (lane == 0) delta[i] = sum;
  }
}

// of_queries: own rows are queries, gq is made. Else own rows are keys, gk and gv are.
template <class T, bool of_queries, int columns>
__global__ void backward_kernel(Attention<T> a, AttentionGradient<T> g, const T* delta) {
  FM_SHARED(T, shared);
  const int dim = static_cast<int>(a.dim), pitch = dim | 1, lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  // First q or k, second go or v; the own tile and the met one.
  const int own_first = 0, own_second = own_rows * pitch, met_first = 2 * own_rows * pitch, met_second = met_first + met_rows * pitch;
  const Count own_count = of_queries ? a.queries : a.keys, met_count = of_queries ? a.keys : a.queries, tiles = (own_count + own_rows - 1) / own_rows;
  for (Count job = blockIdx.x; job < a.batch * a.heads * tiles; job += gridDim.x) {
    const Count b = job / tiles / a.heads, h = job / tiles % a.heads, first = job % tiles * own_rows, scores = (b * a.heads + h) * a.queries;
    const HeadRows<const T> q = head_rows(a.q, b, h), k = head_rows(a.k, b, h), v = head_rows(a.v, b, h), go = head_rows(g.go, b, h);
    load_rows(shared + own_first, of_queries ? q : k, first, own_rows, own_count, dim, pitch);
    load_rows(shared + own_second, of_queries ? go : v, first, own_rows, own_count, dim, pitch);
    T g_first[own_per_warp][columns] = {}, g_second[own_per_warp][of_queries ? 1 : columns] = {};
    for (Count m0 = 0; m0 < met_count; m0 += met_rows) {
      __syncthreads();
      load_rows(shared + met_first, of_queries ? k : q, m0, met_rows, met_count, dim, pitch);
      load_rows(shared + met_second, of_queries ? v : go, m0, met_rows, met_count, dim, pitch);
      __syncthreads();
      for (int r = 0; r < own_per_warp; ++r) {
        const int row = warp * own_per_warp + r, own = row * pitch, met = lane * pitch;
        const Count n = first + row, query = of_queries ? n : m0 + lane;
        const bool there = n < own_count && m0 + lane < met_count;
        T p = T(0), ds = T(0);
        if (there) {
          const T s = a.scale * dot<T>(shared, own_first + own, shared, met_first + met, dim);
          p = math::exp(s - a.lse[scores + query]);
          ds = p * (dot<T>(shared, own_second + own, shared, met_second + met, dim) - delta[scores + query]);
        }
        for (int j = 0; j < met_rows; ++j) {
          const T slope = __shfl_sync(whole_warp, ds, j), weight = of_queries ? T(0) : __shfl_sync(whole_warp, p, j);
          for (int c = 0; c < columns; ++c) {
            const int column = lane + 32 * c;
            if (column >= dim) break;
            g_first[r][c] += slope * T(shared[met_first + j * pitch + column]);
            if (!of_queries) g_second[r][of_queries ? 0 : c] += weight * T(shared[met_second + j * pitch + column]);
          }
        }
      }
    }
    for (int r = 0; r < own_per_warp; ++r) {
      const Count n = first + warp * own_per_warp + r;
      if (n >= own_count) break;
      const HeadRows<T> out = head_rows(of_queries ? g.gq : g.gk, b, h), second = head_rows(g.gv, b, h);
      for (int c = 0; c < columns; ++c) {
        const int column = lane + 32 * c;
        if (column >= dim) break;
        if (out.data) out.row(n)[column] = a.scale * g_first[r][c];
        if (!of_queries && second.data) second.row(n)[column] = g_second[r][of_queries ? 0 : c];
      }
    }
    __syncthreads();
  }
}

template <class T> void check_width(const Attention<T>& a, int own_tiles, int met_tiles) {
  if (a.dim <= 256 && Tiles<T>::bytes(own_tiles, met_tiles, a.dim) <= most_shared) return;
  throw DeviceError("attention on a GPU: heads of width " + std::to_string(a.dim) + " in " + (sizeof(T) == 8 ? "f64" : "f32") +
                    " are wider than a block's shared memory; use more heads, or the CPU");
}

unsigned grid_of(Count n) { return static_cast<unsigned>(n < 1048576 ? n : 1048576); }

// Calls f with the number of columns a lane has, as a constant: of 1, 2, 3, 4 and 8 the first that is enough.
template <int n> struct Columns {
  static constexpr int value = n;
};
template <class F> void with_columns(Count dim, F&& f) {
  if (dim <= 32) f(Columns<1>{});
  else if (dim <= 64) f(Columns<2>{});
  else if (dim <= 96) f(Columns<3>{});
  else if (dim <= 128) f(Columns<4>{});
  else f(Columns<8>{});
}

template <class T, class... Parameters, class... Args>
void start(Count jobs, std::size_t shared_bytes, void (*kernel)(Parameters...), Args... args) {
  if (shared_bytes > std::size_t{48} << 10)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)), "cudaFuncSetAttribute");
  launch(current_stream(), dim3(grid_of(jobs)), dim3(block_threads), shared_bytes, kernel, args...);
}

Count tiles_of(Count batch, Count heads, Count rows) { return batch * heads * ((rows + own_rows - 1) / own_rows); }

template <class T> void forward(const Attention<T>& a) {
  check_width(a, 1, 1);
  with_columns(a.dim, [&](auto c) {
    start<T>(tiles_of(a.batch, a.heads, a.queries), Tiles<T>::bytes(1, 1, a.dim), forward_kernel<T, false, decltype(c)::value>, a, AttentionTangent<T>{});
  });
}

template <class T> void forward_tangent(const Attention<T>& a, const AttentionTangent<T>& t) {
  check_width(a, 2, 2);
  with_columns(a.dim, [&](auto c) {
    start<T>(tiles_of(a.batch, a.heads, a.queries), Tiles<T>::bytes(2, 2, a.dim), forward_kernel<T, true, decltype(c)::value>, a, t);
  });
}

template <class T> void backward(const Attention<T>& a, const AttentionGradient<T>& g) {
  check_width(a, 2, 2);
  const Count rows = a.batch * a.heads * a.queries;
  const auto memory = allocate(static_cast<std::size_t>(rows) * sizeof(T), Device::cuda(current_device()));
  T* delta = reinterpret_cast<T*>(memory.get());
  launch(current_stream(), dim3(grid_of((rows + warps - 1) / warps)), dim3(block_threads), 0, delta_kernel<T>, a, g.go, delta);
  with_columns(a.dim, [&](auto c) {
    constexpr int columns = decltype(c)::value;
    const std::size_t shared = Tiles<T>::bytes(2, 2, a.dim);
    if (g.gq.data) start<T>(tiles_of(a.batch, a.heads, a.queries), shared, backward_kernel<T, true, columns>, a, g, static_cast<const T*>(delta));
    if (g.gk.data || g.gv.data)
      start<T>(tiles_of(a.batch, a.heads, a.keys), shared, backward_kernel<T, false, columns>, a, g, static_cast<const T*>(delta));
  });
}

template <class T> AttentionTable<T> table() { return {forward<T>, forward_tangent<T>, backward<T>}; }

}  // namespace

const AttentionKernels& attention_kernels() {
  static const AttentionKernels tables{table<float>(), table<double>()};
  return tables;
}

}  // namespace fm::cuda
