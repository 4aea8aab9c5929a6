// Packing: copies a strip of A (W = mr rows) or of B (W = nr columns) into the order in which gemm_tile.h reads it,
//
//   packed[p * W + w],   p = 0 .. k-1, w = 0 .. W-1      (bf16 pairs: packed[(p / 2 * W + w) * 2 + p % 2]),
//
// and converts it to the type of the tile. Rows or columns w beyond the edge of the matrix hold copies or zeros, which enter no result.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

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

// Rounds to nearest, ties to even; NaN stays NaN.
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

// A vector of `bytes` bytes of units U. Packing moves a unit as a whole: a T, or a pair of bf16 as 32 bits.
template <class U, int bytes>
using Units = typename VectorOf<U, bytes>::type;
using Pair = std::uint32_t;
template <class U>
inline constexpr int terms_of = std::is_same_v<U, Pair> ? 2 : 1;

#if defined(__AVX512F__)
constexpr int widest = 64;
#elif defined(__AVX__)
constexpr int widest = 32;
#else
constexpr int widest = 16;
#endif

// Rounds the bits of floats as narrow() does: the upper half of each result is a bf16, the lower half is arbitrary.
template <class Bits>
FM_INLINE Bits rounded(Bits bits) {
  typedef std::int32_t Signed __attribute__((vector_size(sizeof(Bits))));
  const Bits nan = (Bits)((Signed)(bits & 0x7fffffffu) > 0x7f800000);
  return (~nan & (bits + 0x7fffu + ((bits >> 16) & 1u))) | (nan & (bits | 0x400000u));
}

// Returns every second element of x and y together, from element `first` (0 or 1) on.
template <int first, class V, int... J>
FM_INLINE V every_second(const V& x, const V& y, std::integer_sequence<int, J...>) {
  return __builtin_shufflevector(x, y, (2 * J + first)...);
}

// Loads neighboring elements of a row as units, converted.
template <class U, int bytes, class In>
FM_INLINE Units<U, bytes> load_units(const In* p) {
  using V = Units<U, bytes>;
  constexpr int n = bytes / int(sizeof(U));
  if constexpr (std::is_same_v<U, In> || (std::is_same_v<U, Pair> && std::is_same_v<In, std::uint16_t>)) {
    return load_vector<V>(p);               // unaligned: a row of 16-bit elements may start anywhere
  } else if constexpr (std::is_same_v<U, Pair>) {
    const V x = load_vector<V>(p), y = load_vector<V>(p + n);
    constexpr std::make_integer_sequence<int, n> all{};
    return (rounded(every_second<0>(x, y, all)) >> 16) | (rounded(every_second<1>(x, y, all)) & 0xffff0000u);
  } else if constexpr (std::is_same_v<In, RoundedFloat>) {
    return (V)(rounded(load_vector<Units<std::uint32_t, bytes>>(p)) & 0xffff0000u);
  } else {
    static_assert(std::is_same_v<U, float> && std::is_same_v<In, std::uint16_t>);
    return (V)(__builtin_convertvector(load_vector<Units<std::uint16_t, bytes / 2>>(p), Units<std::uint32_t, bytes>) << 16);
  }
}

// One step of a transposition by halves (Eklundh 1972): exchanges the off-diagonal blocks of rows q[i] and q[i + half], for i with bit `half`
// clear.
template <int half, class V, int... J>
FM_INLINE void exchange(V& low, V& high, std::integer_sequence<int, J...>) {
  constexpr int n = sizeof...(J);
  const V a = low, b = high;
  low = __builtin_shufflevector(a, b, ((J & half) ? n + J - half : J)...);
  high = __builtin_shufflevector(a, b, ((J & half) ? n + J : J + half)...);
}

template <int half, int n, class V>
FM_INLINE void transpose_from(V (&q)[n]) {
  if constexpr (half > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i)
      if (!(i & half)) exchange<half>(q[i], q[i + half], std::make_integer_sequence<int, n>{});
    transpose_from<half / 2>(q);
  }
}

// Packs units [p, units) of W rows in whole blocks of n x n units, where a vector has n units. Returns the first unpacked unit. Vectors are stored at
// full width even if W is not a multiple of n. The next p overwrites the excess, so the buffer needs space for one vector after its end.
template <int bytes, int W, class U, class In>
FM_INLINE std::int64_t pack_blocks(const In* const* row, std::int64_t p, std::int64_t units, U* dst) {
  constexpr int n = bytes / int(sizeof(U)), groups = (W + n - 1) / n;
  for (; p + n <= units; p += n) {
    Units<U, bytes> q[groups][n];
#pragma GCC unroll 16
    for (int g = 0; g < groups; ++g) {
#pragma GCC unroll 16
      for (int w = 0; w < n; ++w) q[g][w] = load_units<U, bytes>(row[g * n + w] + p * terms_of<U>);
      transpose_from<n / 2>(q[g]);
      if constexpr (W % n == 0)
#pragma GCC unroll 16
        for (int i = 0; i < n; ++i) store_vector(dst + (p + i) * W + g * n, q[g][i]);
    }
    if constexpr (W % n != 0)
#pragma GCC unroll 16
      for (int i = 0; i < n; ++i)
#pragma GCC unroll 16
        for (int g = 0; g < groups; ++g) store_vector(dst + (p + i) * W + g * n, q[g][i]);
  }
  return p;
}

// The rows of a strip, as many as pack_blocks reads. The last valid row is repeated.
template <int W, class U, class In>
struct StripRows {
  static constexpr int n = widest / int(sizeof(U)), count = (W + n - 1) / n * n;
  const In* row[count];
  StripRows(const In* src, std::int64_t ld, std::int64_t valid) {
    for (int w = 0; w < count; ++w) row[w] = src + (w < valid ? w : valid - 1) * ld;
  }
};

// src[w * ld + p], contiguous along the sum.
template <int W, class T, class In>
void pack_rows(const In* src, std::int64_t ld, std::int64_t valid, std::int64_t k, T* dst) {
  const StripRows<W, T, In> rows(src, ld, valid);
  std::int64_t p = pack_blocks<widest, W>(rows.row, 0, k, dst);
  if constexpr (widest > 16) p = pack_blocks<16, W>(rows.row, p, k, dst);
  for (; p < k; ++p)
    for (int w = 0; w < W; ++w) dst[p * W + w] = convert<T>(rows.row[w][p]);
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

// As pack_rows, for bf16 pairs. An odd last term is paired with zero.
template <int W, class In>
void pack_pair_rows(const In* src, std::int64_t ld, std::int64_t valid, std::int64_t k, std::uint16_t* dst) {
  const StripRows<W, Pair, In> rows(src, ld, valid);
  Pair* pairs = reinterpret_cast<Pair*>(dst);
  std::int64_t u = pack_blocks<widest, W>(rows.row, 0, k / 2, pairs);
  if constexpr (widest > 16) u = pack_blocks<16, W>(rows.row, u, k / 2, pairs);
  for (std::int64_t p = 2 * u; p < k; p += 2)
    for (int w = 0; w < W; ++w) {
      dst[p * W + 2 * w] = convert<std::uint16_t>(rows.row[w][p]);
      dst[p * W + 2 * w + 1] = p + 1 < k ? convert<std::uint16_t>(rows.row[w][p + 1]) : std::uint16_t(0);
    }
}

// Packs pairs of elements from two rows: n pairs at a time as far as possible, then n / 2, and so on.
template <int n, int W, class In>
FM_INLINE void pair_up(const In* even, const In* odd, int w, Pair* dst) {
  using V = Units<Pair, n * int(sizeof(Pair))>;
  using Narrow = Units<std::uint16_t, n * int(sizeof(std::uint16_t))>;
  for (; w + n <= W; w += n) {
    if constexpr (std::is_same_v<In, std::uint16_t>)
      store_vector(dst + w, __builtin_convertvector(load_vector<Narrow>(even + w), V) | (__builtin_convertvector(load_vector<Narrow>(odd + w), V) << 16));
    else
      store_vector(dst + w, (rounded(load_vector<V>(even + w)) >> 16) | (rounded(load_vector<V>(odd + w)) & 0xffff0000u));
  }
  if constexpr (W % n != 0) pair_up<n / 2, W>(even, odd, w, dst);
}

template <int W, class In>
void pack_pair_columns(const In* src, std::int64_t ld, std::int64_t valid, std::int64_t k, std::uint16_t* dst) {
  for (std::int64_t p = 0; p < k; p += 2, dst += 2 * W) {
    const In* even = src + p * ld;
    const In* odd = even + ld;
    if (valid == W && p + 1 < k) {
      pair_up<(W < widest / 4 ? widest / 8 : widest / 4), W>(even, odd, 0, reinterpret_cast<Pair*>(dst));
    } else {
      for (int w = 0; w < W; ++w) {
        dst[2 * w] = w < valid ? convert<std::uint16_t>(even[w]) : std::uint16_t(0);
        dst[2 * w + 1] = w < valid && p + 1 < k ? convert<std::uint16_t>(odd[w]) : std::uint16_t(0);
      }
    }
  }
}

// Packs a strip for Tile. `along`: src is contiguous along the sum.
template <class Tile, int W, class In>
FM_INLINE void pack_strip(bool along, const In* src, std::int64_t ld, std::int64_t valid, std::int64_t k, typename Tile::Packed* dst) {
  if constexpr (Tile::step == 2)
    along ? pack_pair_rows<W>(src, ld, valid, k, dst) : pack_pair_columns<W>(src, ld, valid, k, dst);
  else
    along ? pack_rows<W>(src, ld, valid, k, dst) : pack_columns<W>(src, ld, valid, k, dst);
}

}  // namespace
}  // namespace fm::cpu::FM_ISA
