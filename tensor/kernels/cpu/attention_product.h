// The products inside attention: C = alpha A B (+ C) with A read in place and B packed once per head into panels. They use the
// tiles of the general product (gemm_tile.h), in two widths, so that head sizes such as 24 and 72 waste little.
#pragma once

#include "tensor/kernels/cpu/gemm_pack.h"
#include "tensor/kernels/cpu/gemm_tile.h"
#include "tensor/kernels/cpu/integers.h"

namespace fm::cpu::FM_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64, tile_rows = 12;
#elif defined(__AVX__)
constexpr int vector_bytes = 32, tile_rows = 6;
#else
constexpr int vector_bytes = 16, tile_rows = 6;
#endif

template <class T>
struct Tiles {
  using Wide = FmaTile<T, vector_bytes, tile_rows, 2>;
  using Narrow = FmaTile<T, vector_bytes, tile_rows, 1>;
  static constexpr Int wide = Wide::nr, narrow = Narrow::nr;

  // Returns the number of columns of a packed matrix of n columns.
  FM_INLINE static Int padded(Int n) { return (n + narrow - 1) / narrow * narrow; }
  FM_INLINE static Int panel_columns(Int left) { return left > narrow ? wide : narrow; }
};

// B (terms, columns) in panels of `wide` columns. The last panel is narrow if the remaining columns fit into it.
template <class T>
struct Packed {
  T* data;
  Int terms, columns;
};

// B[p][j] = src[p * ld + j]
template <class T>
FM_INLINE void pack_as_is(const T* src, Int ld, const Packed<T>& b) {
  using S = Tiles<T>;
  for (Int j = 0; j < b.columns; j += S::wide) {
    const Int left = b.columns - j;
    T* panel = b.data + j * b.terms;
    if (S::panel_columns(left) == S::wide) pack_columns<int(S::wide)>(src + j, ld, left < S::wide ? left : S::wide, b.terms, panel);
    else pack_columns<int(S::narrow)>(src + j, ld, left, b.terms, panel);
  }
}

// B[p][j] = src[j * ld + p]
template <class T>
FM_INLINE void pack_transposed(const T* src, Int ld, const Packed<T>& b) {
  using S = Tiles<T>;
  for (Int j = 0; j < b.columns; j += S::wide) {
    const Int left = b.columns - j;
    T* panel = b.data + j * b.terms;
    if (S::panel_columns(left) == S::wide) pack_rows<int(S::wide)>(src + j * ld, ld, left < S::wide ? left : S::wide, b.terms, panel);
    else pack_rows<int(S::narrow)>(src + j * ld, ld, left, b.terms, panel);
  }
}

// A (rows, terms): element (i, p) lies at data[i * ld + p], or if transposed at data[p * ld + i].
template <class T>
struct Operand {
  const T* data;
  Int ld;
  bool transposed = false;
};

template <class Tile, class T>
FM_INLINE void panel_product(TileCall<Tile> call, bool by_rows, Int rows) {
  const Int next = by_rows ? Tile::mr * call.as : Tile::mr;
  const TileFunction<Tile> full = tile_function<Tile>(by_rows, Tile::mr);
  for (; rows >= Tile::mr; rows -= Tile::mr, call.a += next, call.c += Tile::mr * call.ldc) full(call);
  if (rows > 0) tile_function<Tile>(by_rows, rows)(call);
}

// C[i][j - j0] = alpha sum_p A[i][p] B[p0 + p][j] (+ C) for i < rows, p < terms, j0 <= j < j1; j0 is a multiple of the wide panel.
template <class T>
void product(const Operand<T>& a, Int rows, const Packed<T>& b, Int p0, Int terms, Int j0, Int j1, T* c, Int ldc, T alpha, bool add) {
  using S = Tiles<T>;
  for (Int j = j0; j < j1; j += S::wide) {
    const Int left = j1 - j, panel = S::panel_columns(b.columns - j);
    const T* from = b.data + j * b.terms + p0 * panel;
    const Int cols = left < panel ? left : panel;
    const auto run = [&](auto tile) {
      using Tile = decltype(tile);
      panel_product<Tile, T>({terms, a.data, a.ld, from, panel, c + (j - j0), ldc, cols, nullptr, add, alpha}, !a.transposed, rows);
    };
    if (panel == S::wide) run(typename S::Wide{});
    else run(typename S::Narrow{});
  }
}

}  // namespace
}  // namespace fm::cpu::FM_ISA
