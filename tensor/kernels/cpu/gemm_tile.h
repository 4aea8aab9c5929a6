// The innermost loop of a product: R rows by nr columns of C stay in registers while k runs,
//
//   acc[r][j] += a[r][p] * b[p][j],   p = 0 .. k-1.
//
// One template serves all vector widths: 4 floats (SSE2), 8 (AVX2), 16 (AVX-512). Each element of A is broadcast. With Rows = true it is read
// from rows of the matrix itself (a[r * as + p]), otherwise from a packed or transposed block (a[p * as + r]).
#pragma once

#include <cstdint>
#include <utility>

#include "tensor/parallel.h"

namespace fm::cpu::FM_ISA {
namespace {

template <class T, int Bytes>
struct VectorOf {
  typedef T type __attribute__((vector_size(Bytes)));
};

template <class V, class T>
FM_INLINE V load_vector(const T* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof(V));
  return v;
}

template <class V, class T>
FM_INLINE void store_vector(T* p, const V& v) {
  __builtin_memcpy(p, &v, sizeof(V));
}

// Multiply-adds on T, with Rows x Vecs accumulators of Bytes bytes each.
template <class T, int Bytes, int Rows, int Vecs>
struct FmaTile {
  using Packed = T;                     // element of packed A and B
  using Acc = T;
  using V = typename VectorOf<T, Bytes>::type;
  using Operand = V;
  static constexpr int step = 1;        // terms of the sum taken by one multiply-add
  static constexpr int width = Bytes / int(sizeof(T));
  static constexpr int mr = Rows, nv = Vecs, nr = Vecs * width;
  static constexpr int kc = 256;        // terms per packed block; 384 is 1 % faster, but sums are less exact

  FM_INLINE static void mac(V& acc, const T* a, const V& b) { acc += *a * b; }
};

// bf16 pairs: acc += a[2p] b[2p] + a[2p+1] b[2p+1], one 32-bit unit of A and of each column of B. Native uses the VDPBF16PS instruction. Otherwise
// the same sum is computed by float operations, so that machines without the instruction can test all code around it.
// (Inline assembly, because an intrinsic would need a target attribute on every function that the tile is inlined into.)
template <int Bytes, int Rows, int Vecs, bool Native>
struct PairTile {
  using Packed = std::uint16_t;
  using Acc = float;
  using V = typename VectorOf<float, Bytes>::type;
  using Operand = typename VectorOf<std::uint32_t, Bytes>::type;
  static constexpr int step = 2;
  static constexpr int width = Bytes / 4;
  static constexpr int mr = Rows, nv = Vecs, nr = Vecs * width;
  static constexpr int kc = 768;

  FM_INLINE static void mac(V& acc, const std::uint16_t* a, const Operand& b) {
    std::uint32_t pair;
    __builtin_memcpy(&pair, a, sizeof pair);
    const Operand x = pair + Operand{};
#if defined(__AVX512F__)
    if constexpr (Native) {
      asm("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(x), "v"(b));
      return;
    }
#endif
    acc += (V)(x << 16) * (V)(b << 16);
    acc += (V)(x & 0xffff0000u) * (V)(b & 0xffff0000u);
  }
};

// The operands of one tile and the destination of its result: C = alpha acc (+ bias) (+ C if load).
template <class Tile>
struct TileCall {
  using P = typename Tile::Packed;
  using T = typename Tile::Acc;
  std::int64_t terms;          // multiply-adds per element of C, each of Tile::step terms
  const P* a;
  std::int64_t as;
  const P* b;                  // b[p * bs + j * step]
  std::int64_t bs;
  T* c;
  std::int64_t ldc;
  std::int64_t cols;           // columns of C that exist, <= nr
  const T* bias;               // or null
  bool load;
  T alpha;
};

// Stores a tile that extends beyond the right edge of C, from accumulators in memory.
template <class Tile>
__attribute__((noinline)) void store_partial(const TileCall<Tile>& t, const typename Tile::Acc* acc, int rows) {
  for (int r = 0; r < rows; ++r)
    for (std::int64_t j = 0; j < t.cols; ++j) {
      typename Tile::Acc x = t.alpha * acc[r * Tile::nr + j];
      if (t.bias) x += t.bias[j];
      if (t.load) x += t.c[r * t.ldc + j];
      t.c[r * t.ldc + j] = x;
    }
}

template <class Tile, int R, bool Rows>
void multiply_tile(const TileCall<Tile>& t) {
  using V = typename Tile::V;
  using T = typename Tile::Acc;
  using Operand = typename Tile::Operand;
  constexpr int nv = Tile::nv, width = Tile::width, step = Tile::step;

  // Every loop over acc is unrolled: an array indexed by a variable would live in memory instead of in registers.
  V acc[R][nv];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < nv; ++v) acc[r][v] = V{};
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)          // prefetches C while the sum runs
#pragma GCC unroll 4
    for (int v = 0; v < nv * int(sizeof(V)); v += 64) __builtin_prefetch(reinterpret_cast<const char*>(t.c + r * t.ldc) + v, 1);

  const auto* a = t.a;
  const auto* b = t.b;
  const std::int64_t as = t.as, bs = t.bs;
#pragma GCC unroll 4
  for (std::int64_t p = t.terms; p > 0; --p) {
    Operand x[nv];
#pragma GCC unroll 4
    for (int v = 0; v < nv; ++v) x[v] = load_vector<Operand>(b + v * width * step);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < nv; ++v) Tile::mac(acc[r][v], Rows ? a + r * as : a + r * step, x[v]);
    a += Rows ? step : as;
    b += bs;
  }

  if (t.cols != Tile::nr) {
    alignas(64) T buffer[R * Tile::nr];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < nv; ++v) store_vector(buffer + r * Tile::nr + v * width, acc[r][v]);
    store_partial<Tile>(t, buffer, R);
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < nv; ++v) {
      T* c = t.c + r * t.ldc + v * width;
      V y = t.alpha * acc[r][v];
      if (t.bias) y += load_vector<V>(t.bias + v * width);
      if (t.load) y += load_vector<V>(c);
      store_vector(c, y);
    }
}

// The tiles for 1 .. mr rows.
template <class Tile>
using TileFunction = void (*)(const TileCall<Tile>&);

template <class Tile, class Rows>
struct TileTable;
template <class Tile, int... R>
struct TileTable<Tile, std::integer_sequence<int, R...>> {
  static constexpr TileFunction<Tile> rows[] = {multiply_tile<Tile, R + 1, true>...};
  static constexpr TileFunction<Tile> columns[] = {multiply_tile<Tile, R + 1, false>...};
};

template <class Tile>
FM_INLINE TileFunction<Tile> tile_function(bool rows, std::int64_t count) {
  using Table = TileTable<Tile, std::make_integer_sequence<int, Tile::mr>>;
  return rows ? Table::rows[count - 1] : Table::columns[count - 1];
}

}  // namespace
}  // namespace fm::cpu::FM_ISA
