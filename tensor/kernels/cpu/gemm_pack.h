// Packing: copies a strip of A (W = mr rows) or of B (W = nr columns) into the order in which gemm_tile.h reads it,
//
//   packed[p * W + w],   p = 0 .. k-1, w = 0 .. W-1      (bf16 pairs: packed[(p / 2 * W + w) * 2 + p % 2]),
//
// converting to the tile's type on the way. Places w that the matrix does not have hold copies or zeros; they reach no result.
#pragma once

#include <cstdint>
#include <type_traits>

#include "tensor/kernels/cpu/gemm.h"
#include "tensor/kernels/cpu/gemm_tile.h"

namespace fm::cpu::FM_ISA {
namespace {

FM_INLINE float widen(std::uint16_t x) {
  const std::uint32_t bits = std::uint32_t(x) << 16;
  float f;
  __builtin_memcpy(&f, &bits, sizeof f);
  return f;
}

// To nearest, ties to even; NaN stays NaN.
FM_INLINE std::uint16_t narrow(float f) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, &f, sizeof bits);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return std::uint16_t(f != f ? (bits >> 16) | 0x40u : rounded);
}

template <class T, class In>
FM_INLINE T convert(In x) {
  if constexpr (std::is_same_v<In, RoundedFloat>)
    return convert<T>(narrow(x.value));
  else if constexpr (std::is_same_v<In, std::uint16_t> && !std::is_same_v<T, std::uint16_t>)
    return T(widen(x));
  else
    return x;
}

// 16 bytes of T from a row, and their transposition: the unit in which rows turn into columns.
template <class T>
using Quad = typename VectorOf<T, 16>::type;

// The bits of floats, rounded: a bf16 in the upper half of each, anything in the lower. Like narrow().
FM_INLINE Quad<std::uint32_t> rounded(Quad<std::uint32_t> bits) {
  typedef std::int32_t Signed __attribute__((vector_size(16)));
  const Quad<std::uint32_t> nan = (Quad<std::uint32_t>)((Signed)(bits & 0x7fffffffu) > 0x7f800000);
  return (~nan & (bits + 0x7fffu + ((bits >> 16) & 1u))) | (nan & (bits | 0x400000u));
}

template <class T, class In>
FM_INLINE Quad<T> load_quad(const In* p) {
  if constexpr (std::is_same_v<T, In>) {
    return load_vector<Quad<T>>(p);
  } else if constexpr (std::is_same_v<In, RoundedFloat>) {
    return (Quad<T>)(rounded(load_vector<Quad<std::uint32_t>>(p)) & 0xffff0000u);
  } else {
    typedef std::uint16_t Half __attribute__((vector_size(8)));
    typedef std::uint32_t Whole __attribute__((vector_size(16)));
    static_assert(std::is_same_v<T, float>);
    return (Quad<T>)(__builtin_convertvector(load_vector<Half>(p), Whole) << 16);
  }
}

template <class T>
FM_INLINE void transpose(Quad<T> (&q)[16 / sizeof(T)]) {
  if constexpr (sizeof(T) == 8) {
    const Quad<T> x = __builtin_shufflevector(q[0], q[1], 0, 2), y = __builtin_shufflevector(q[0], q[1], 1, 3);
    q[0] = x, q[1] = y;
  } else {
    const Quad<T> a = __builtin_shufflevector(q[0], q[1], 0, 4, 1, 5), b = __builtin_shufflevector(q[0], q[1], 2, 6, 3, 7);
    const Quad<T> c = __builtin_shufflevector(q[2], q[3], 0, 4, 1, 5), d = __builtin_shufflevector(q[2], q[3], 2, 6, 3, 7);
    q[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5), q[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    q[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5), q[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
  }
}

// src[w * ld + p], contiguous along the sum. Rows of quads are stored at full width even where W is no multiple of the quad: what
// sticks out is overwritten by the next p, so the buffer needs one quad of slack behind it.
template <int W, class T, class In>
void pack_rows(const In* src, std::int64_t ld, std::int64_t valid, std::int64_t k, T* dst) {
  constexpr int quad = 16 / int(sizeof(T)), groups = (W + quad - 1) / quad;
  const In* row[groups * quad];
  for (int w = 0; w < groups * quad; ++w) row[w] = src + (w < valid ? w : valid - 1) * ld;
  std::int64_t p = 0;
  for (; p + quad <= k; p += quad) {
    Quad<T> q[groups][quad];
#pragma GCC unroll 16
    for (int g = 0; g < groups; ++g) {
#pragma GCC unroll 4
      for (int w = 0; w < quad; ++w) q[g][w] = load_quad<T>(row[g * quad + w] + p);
      transpose<T>(q[g]);
      if constexpr (W % quad == 0)
#pragma GCC unroll 4
        for (int i = 0; i < quad; ++i) store_vector(dst + (p + i) * W + g * quad, q[g][i]);
    }
    if constexpr (W % quad != 0)
#pragma GCC unroll 4
      for (int i = 0; i < quad; ++i)
#pragma GCC unroll 16
        for (int g = 0; g < groups; ++g) store_vector(dst + (p + i) * W + g * quad, q[g][i]);
  }
  for (; p < k; ++p)
    for (int w = 0; w < W; ++w) dst[p * W + w] = convert<T>(row[w][p]);
}

// src[p * ld + w], contiguous across the strip.
template <int W, class T, class In>
void pack_columns(const In* src, std::int64_t ld, std::int64_t valid, std::int64_t k, T* dst) {
  if (valid == W) {
    for (std::int64_t p = 0; p < k; ++p, src += ld, dst += W)
      if constexpr (std::is_same_v<T, In>)
        __builtin_memcpy(dst, src, W * sizeof(T));
      else
        for (int w = 0; w < W; ++w) dst[w] = convert<T>(src[w]);
    return;
  }
  for (std::int64_t p = 0; p < k; ++p, src += ld, dst += W)
    for (int w = 0; w < W; ++w) dst[w] = w < valid ? convert<T>(src[w]) : T(0);
}

// Eight neighbours of a row as four pairs.
template <class In>
FM_INLINE Quad<std::uint32_t> load_pairs(const In* p) {
  using Pairs = Quad<std::uint32_t>;
  if constexpr (std::is_same_v<In, std::uint16_t>) {
    return load_vector<Pairs>(p);           // bytewise: rows may start at odd addresses
  } else {
    const Pairs x = load_vector<Pairs>(p), y = load_vector<Pairs>(p + 4);
    return (rounded(__builtin_shufflevector(x, y, 0, 2, 4, 6)) >> 16) | (rounded(__builtin_shufflevector(x, y, 1, 3, 5, 7)) & 0xffff0000u);
  }
}

// The same for bf16 pairs, each one 32-bit unit; an odd last term is paired with zero.
template <int W, class In>
void pack_pair_rows(const In* src, std::int64_t ld, std::int64_t valid, std::int64_t k, std::uint16_t* dst) {
  constexpr int groups = (W + 3) / 4;
  const In* row[groups * 4];
  for (int w = 0; w < groups * 4; ++w) row[w] = src + (w < valid ? w : valid - 1) * ld;
  std::int64_t p = 0;
  for (; p + 8 <= k; p += 8) {
    Quad<std::uint32_t> q[groups][4];
    for (int g = 0; g < groups; ++g) {
      for (int w = 0; w < 4; ++w) q[g][w] = load_pairs(row[g * 4 + w] + p);
      transpose<std::uint32_t>(q[g]);
    }
    for (int i = 0; i < 4; ++i)
      for (int g = 0; g < groups; ++g) store_vector(dst + ((p / 2 + i) * W + g * 4) * 2, q[g][i]);
  }
  for (; p < k; p += 2)
    for (int w = 0; w < W; ++w) {
      dst[p * W + 2 * w] = convert<std::uint16_t>(row[w][p]);
      dst[p * W + 2 * w + 1] = p + 1 < k ? convert<std::uint16_t>(row[w][p + 1]) : std::uint16_t(0);
    }
}

template <int W, class In>
void pack_pair_columns(const In* src, std::int64_t ld, std::int64_t valid, std::int64_t k, std::uint16_t* dst) {
  for (std::int64_t p = 0; p < k; p += 2, dst += 2 * W) {
    const In* even = src + p * ld;
    const In* odd = even + ld;
    if (valid == W && p + 1 < k) {
      for (int w = 0; w < W; ++w) dst[2 * w] = convert<std::uint16_t>(even[w]), dst[2 * w + 1] = convert<std::uint16_t>(odd[w]);
    } else {
      for (int w = 0; w < W; ++w) {
        dst[2 * w] = w < valid ? convert<std::uint16_t>(even[w]) : std::uint16_t(0);
        dst[2 * w + 1] = w < valid && p + 1 < k ? convert<std::uint16_t>(odd[w]) : std::uint16_t(0);
      }
    }
  }
}

// A strip for Tile: `along` says that src is contiguous along the sum.
template <class Tile, int W, class In>
FM_INLINE void pack_strip(bool along, const In* src, std::int64_t ld, std::int64_t valid, std::int64_t k, typename Tile::Packed* dst) {
  if constexpr (Tile::step == 2)
    along ? pack_pair_rows<W>(src, ld, valid, k, dst) : pack_pair_columns<W>(src, ld, valid, k, dst);
  else
    along ? pack_rows<W>(src, ld, valid, k, dst) : pack_columns<W>(src, ld, valid, k, dst);
}

}  // namespace
}  // namespace fm::cpu::FM_ISA
