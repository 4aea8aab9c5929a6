// The building blocks of attention kernels. A block of four warps has its own tile of rows and processes the other ("met") rows 32 at a time. The work
// is two products, on tiles in shared memory, with a small block of results in the registers of each lane (y = lane / 8, x = lane % 8):
//
//   scores  s (own, met)     += own met^T          a lane has own rows y + 4 i and met rows x + 8 j of its warp's part
//   sums    r (own, columns) += w (own, met) met   a lane has own rows y + 4 i and 16 bytes of columns of each chunk
//
// A chunk is 128 bytes of a row. Met rows pass chunk by chunk through two buffers: while one is used, the next chunk is loaded into registers, so one
// barrier for each chunk is enough. Each warp makes the weights w that it reads from scores. 16 bytes are read at a time, without bank conflicts:
// rows of tiles are 16 bytes longer than a multiple of 128.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <utility>

#include "tensor/kernels/attention.h"

#ifdef __CUDACC__
#define FM_UNROLL _Pragma("unroll")        // arrays of results must be in registers
#define FM_ONE_BY_ONE _Pragma("unroll 1")  // registers would not suffice for the loads of two iterations
#else
#define FM_UNROLL
#define FM_ONE_BY_ONE
#endif

namespace fm::cuda::attention {

using Count = std::int64_t;

constexpr int warps = 4, block_threads = 32 * warps, met_rows = 32, met_per_lane = met_rows / 8;

template <class T>
struct alignas(16) Pack {
  static constexpr int size = 16 / sizeof(T);
  T x[size];
};

template <class T>
__device__ Pack<T> pack_at(const T* p) {
  return *reinterpret_cast<const Pack<T>*>(p);
}

// Rows of one (batch, head). If data is null, reads give zeros and writes do nothing.
template <class T>
struct HeadRows {
  T* data = nullptr;
  Count token = 0;
  __device__ T* row(Count n) const { return data + n * token; }
};
template <class T>
__device__ HeadRows<T> head_rows(const kernels::Heads<T>& h, Count b, Count head) {
  return {h.data ? h.data + b * h.batch + head * h.head : nullptr, h.token};
}

// A block for heads of up to `columns` chunks. Each lane has `rows` own rows, the block 16 times as many. The last three parameters are the numbers
// of tiles of each kind.
template <class T, int columns, int rows, int own_tiles, int met_tiles, int weight_tiles>
struct Block {
  static constexpr int pack = Pack<T>::size, chunk = 8 * pack, own_rows = warps * 4 * rows;
  static constexpr int own_pitch = columns * chunk + pack, met_pitch = chunk + pack, weight_pitch = met_rows + 8;
  static constexpr int own_size = own_rows * own_pitch, met_size = met_rows * met_pitch, weight_size = own_rows * weight_pitch;
  static constexpr int met_begin = own_tiles * own_size, weight_begin = met_begin + 2 * met_tiles * met_size;
  static constexpr int bytes = (weight_begin + weight_tiles * weight_size) * static_cast<int>(sizeof(T));
  static constexpr int step = block_threads / chunk, per_thread = met_rows / step;  // a chunk of met rows: `step` rows at a time

  T* shared;
  int dim;
  int x = static_cast<int>(threadIdx.x % 8), y = static_cast<int>(threadIdx.x / 8 % 4), warp = static_cast<int>(threadIdx.x / 32);

  __device__ int own_row(int i) const { return warp * 4 * rows + y + 4 * i; }
  __device__ int met_row(int j) const { return x + 8 * j; }
  __device__ int chunks() const { return (dim + chunk - 1) / chunk; }

  __device__ void load_own(int tile, HeadRows<const T> from, Count first, Count end) const {
    for (int i = static_cast<int>(threadIdx.x); i < own_rows * columns * chunk; i += block_threads) {
      const int r = i / (columns * chunk), c = i % (columns * chunk);
      shared[tile * own_size + r * own_pitch + c] = from.data && first + r < end && c < dim ? from.row(first + r)[c] : T(0);
    }
  }

  // s += own tile times transposed met tile, over chunk c.
  __device__ void add_scores(T (&s)[rows][met_per_lane], int own_tile, int met_tile, int c, int buffer) const {
    const T* own = shared + own_tile * own_size + own_row(0) * own_pitch + c * chunk;
    const T* met = shared + met_begin + (buffer * met_tiles + met_tile) * met_size + x * met_pitch;
    const int left = dim - c * chunk, n = left < chunk ? left : chunk;
    FM_ONE_BY_ONE
    for (int d = 0; d < n; d += pack) {
      Pack<T> theirs[met_per_lane];
      FM_UNROLL
      for (int j = 0; j < met_per_lane; ++j) theirs[j] = pack_at(met + 8 * j * met_pitch + d);
      FM_UNROLL
      for (int i = 0; i < rows; ++i) {
        const Pack<T> mine = pack_at(own + 4 * i * own_pitch + d);
        FM_UNROLL
        for (int j = 0; j < met_per_lane; ++j) {
          FM_UNROLL
          for (int u = 0; u < pack; ++u) s[i][j] += mine.x[u] * theirs[j].x[u];
        }
      }
    }
  }

  __device__ T& weight(int tile, int i, int j) const {
    return shared[weight_begin + tile * weight_size + own_row(i) * weight_pitch + met_row(j)];
  }

  // r += weights times the first n rows of a met tile, for the chunk in that tile.
  __device__ void add_rows(Pack<T> (&r)[rows], int weight_tile, int met_tile, int n, int buffer) const {
    const T* weights = shared + weight_begin + weight_tile * weight_size + own_row(0) * weight_pitch;
    const T* met = shared + met_begin + (buffer * met_tiles + met_tile) * met_size + x * pack;
    FM_ONE_BY_ONE
    for (int j = 0; j < n; j += pack) {
      Pack<T> w[rows];
      FM_UNROLL
      for (int i = 0; i < rows; ++i) w[i] = pack_at(weights + 4 * i * weight_pitch + j);
      FM_UNROLL
      for (int k = 0; k < pack; ++k) {
        const Pack<T> v = pack_at(met + (j + k) * met_pitch);
        FM_UNROLL
        for (int i = 0; i < rows; ++i) {
          FM_UNROLL
          for (int u = 0; u < pack; ++u) r[i].x[u] += w[i].x[k] * v.x[u];
        }
      }
    }
  }

  // Loads chunk c of the rows from `first` on into registers.
  __device__ void fetch(T (&next)[met_tiles][per_thread], const HeadRows<const T> (&from)[met_tiles], Count first, Count end, int c) const {
    const int r = static_cast<int>(threadIdx.x) / chunk, column = c * chunk + static_cast<int>(threadIdx.x) % chunk;
    FM_UNROLL
    for (int tile = 0; tile < met_tiles; ++tile) {
      const HeadRows<const T> rows_of = from[tile];
      Count at = (first + r) * rows_of.token + column;
      FM_UNROLL
      for (int e = 0; e < per_thread; ++e) {
        next[tile][e] = rows_of.data && first + r + e * step < end && column < dim ? rows_of.data[at] : T(0);
        at += step * rows_of.token;
      }
    }
  }
  __device__ void store(const T (&next)[met_tiles][per_thread], int buffer) const {
    const int r = static_cast<int>(threadIdx.x) / chunk, column = static_cast<int>(threadIdx.x) % chunk;
    FM_UNROLL
    for (int tile = 0; tile < met_tiles; ++tile) {
      FM_UNROLL
      for (int e = 0; e < per_thread; ++e)
        shared[met_begin + (buffer * met_tiles + tile) * met_size + (r + e * step) * met_pitch + column] = next[tile][e];
    }
  }

  // Goes over rows [0, end), 32 at a time: calls begin(m) before rows m, m + 1, ..., scores(c, buffer) for each of their chunks in `first`, turn(m)
  // when the scores are complete, and sums(constant c, buffer, n) for each chunk of the same n rows in `second`.
  template <class Begin, class Scores, class Turn, class Sums>
  __device__ void meet(Count end, const HeadRows<const T> (&first)[met_tiles], const HeadRows<const T> (&second)[met_tiles],
                       const Begin& begin, const Scores& scores, const Turn& turn, const Sums& sums) const {
    T next[met_tiles][per_thread];
    int buffer = 0;
    const int n_chunks = chunks();
    fetch(next, first, 0, end, 0);
    for (Count m = 0; m < end; m += met_rows) {
      begin(m);
      for (int c = 0; c < n_chunks; ++c) {
        store(next, buffer);
        __syncthreads();
        if (c + 1 < n_chunks)
          fetch(next, first, m, end, c + 1);
        else
          fetch(next, second, m, end, 0);
        scores(c, buffer);
        buffer ^= 1;
      }
      turn(m);
      const int n = end - m < met_rows ? static_cast<int>(end - m) : met_rows;
      each_chunk(std::make_integer_sequence<int, columns>{}, [&](auto c) {
        if (c.value >= n_chunks) return;
        store(next, buffer);
        __syncthreads();
        if (c.value + 1 < n_chunks)
          fetch(next, second, m, end, c.value + 1);
        else
          fetch(next, first, m + met_rows, end, 0);
        sums(c, buffer, n);
        buffer ^= 1;
      });
    }
  }

  // Calls f(n, c, u, value) for every element of the block's results in rows below `end` and columns below `dim`.
  template <class F>
  __device__ void each_result(Count first, Count end, const F& f) const {
    FM_UNROLL
    for (int i = 0; i < rows; ++i) {
      const Count n = first + own_row(i);
      FM_UNROLL
      for (int c = 0; c < columns; ++c) {
        FM_UNROLL
        for (int u = 0; u < pack; ++u) {
          const int column = c * chunk + x * pack + u;
          if (n < end && column < dim) f(n, column, i, c, u);
        }
      }
    }
  }

 private:
  template <int... c, class F>
  __device__ static void each_chunk(std::integer_sequence<int, c...>, const F& f) {
    (f(std::integral_constant<int, c>{}), ...);
  }
};

// Returns the sum over the eight lanes that share own rows.
template <class T>
__device__ T row_sum(T value) {
  for (int distance = 4; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}
template <class T>
__device__ T row_max(T value) {
  for (int distance = 4; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, value, distance);
    value = other > value ? other : value;
  }
  return value;
}

}  // namespace fm::cuda::attention
