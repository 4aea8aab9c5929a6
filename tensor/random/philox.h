// Philox4x32-10: random numbers as a pure function of (seed, stream, index, draw), with no state to save or to share.
// Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11. One round maps the counter (c0,c1,c2,c3) with key (k0,k1) to
//   (hi(B c2) ^ c1 ^ k0,  lo(B c2),  hi(A c0) ^ c3 ^ k1,  lo(A c0)),   A = D2511F53, B = CD9E8D57,
// and adds the Weyl constants (9E3779B9, BB67AE85) to the key between its ten rounds.
// All code is straight-line and shared by host and device: a simd loop over indices vectorizes, without library calls.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "tensor/hd.h"

namespace fm {

// Plain structs, not std::array: its members are host functions for a CUDA compiler.
struct PhiloxKey {
  std::uint32_t word[2];
  FM_HD constexpr std::uint32_t operator[](int i) const { return word[i]; }
};
struct PhiloxBlock {
  std::uint32_t word[4];
  FM_HD constexpr std::uint32_t operator[](int i) const { return word[i]; }
  FM_HD constexpr bool operator==(const PhiloxBlock& o) const {
    return word[0] == o.word[0] && word[1] == o.word[1] && word[2] == o.word[2] && word[3] == o.word[3];
  }
};

// Four random words for a counter and a key.
FM_HD constexpr PhiloxBlock philox4x32(PhiloxBlock counter, PhiloxKey key) {
  std::uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  std::uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * c0, b = std::uint64_t{0xCD9E8D57u} * c2;
    c0 = std::uint32_t(b >> 32) ^ c1 ^ k0;
    c2 = std::uint32_t(a >> 32) ^ c3 ^ k1;
    c1 = std::uint32_t(b);
    c3 = std::uint32_t(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Selects random numbers: `seed` stands for the run, `stream` for the purpose (noise, time, shuffle ...). `index` is normally the global sample or
// element, `draw` the step or the number of the draw for that index, so results do not depend on ranks, threads or order.
struct RandomKey {
  std::uint64_t seed = 0;
  std::uint32_t stream = 0;

  FM_HD constexpr PhiloxBlock block(std::uint64_t index, std::uint32_t draw = 0) const {
    return philox4x32({{std::uint32_t(index), std::uint32_t(index >> 32), draw, stream}}, {{std::uint32_t(seed), std::uint32_t(seed >> 32)}});
  }
};

// [0,1) with 24 bits: every value is exact in float and 1 is never reached.
FM_HD constexpr float uniform_from_bits(std::uint32_t bits) { return float(bits >> 8) * 0x1p-24f; }
// [0,1) with 53 bits, from two words.
FM_HD constexpr double uniform_from_bits(std::uint32_t high, std::uint32_t low) {
  return double((std::uint64_t(high) << 32 | low) >> 11) * 0x1p-53;
}
// An integer in [0,n), n > 0. The bias is below n / 2^32 for the first form and n / 2^64 for the second.
FM_HD constexpr std::uint32_t below(std::uint32_t bits, std::uint32_t n) { return std::uint32_t(std::uint64_t(bits) * n >> 32); }
FM_HD constexpr std::uint64_t below(std::uint32_t high, std::uint32_t low, std::uint64_t n) {
  const std::uint64_t n0 = std::uint32_t(n), n1 = n >> 32;  // (high:low * n) >> 64 by 32-bit halves
  const std::uint64_t mid = (low * n0 >> 32) + (high * n0 & 0xFFFFFFFFu), mid2 = low * n1 + (mid & 0xFFFFFFFFu);
  return high * n1 + (high * n0 >> 32) + (mid >> 32) + (mid2 >> 32);
}

// A float with operations that are rounded one by one. For plain floats nvcc would fuse sums of products into multiply-adds, and normal numbers
// would not have the same bits on every device. (CPU code of random numbers is compiled without fused multiply-adds.)
struct Uncontracted {
  float value;
  FM_HD Uncontracted(float x) : value(x) {}
#ifdef __CUDA_ARCH__
  FM_HD friend Uncontracted operator+(Uncontracted a, Uncontracted b) { return __fadd_rn(a.value, b.value); }
  FM_HD friend Uncontracted operator-(Uncontracted a, Uncontracted b) { return __fsub_rn(a.value, b.value); }
  FM_HD friend Uncontracted operator*(Uncontracted a, Uncontracted b) { return __fmul_rn(a.value, b.value); }
  FM_HD friend Uncontracted operator/(Uncontracted a, Uncontracted b) { return __fdiv_rn(a.value, b.value); }
  FM_HD friend Uncontracted sqrt(Uncontracted a) { return __fsqrt_rn(a.value); }
#else
  FM_HD friend Uncontracted operator+(Uncontracted a, Uncontracted b) { return a.value + b.value; }
  FM_HD friend Uncontracted operator-(Uncontracted a, Uncontracted b) { return a.value - b.value; }
  FM_HD friend Uncontracted operator*(Uncontracted a, Uncontracted b) { return a.value * b.value; }
  FM_HD friend Uncontracted operator/(Uncontracted a, Uncontracted b) { return a.value / b.value; }
  FM_HD friend Uncontracted sqrt(Uncontracted a) { return std::sqrt(a.value); }
#endif
};

// Returns -ln u of u = (bits + 1/2) / 2^32; the result is in (0, 23). With u = 2^e m, m in [0.7,1.4): ln u = e ln 2 + ln m, where
// ln m = 2 artanh s, s = (m-1)/(m+1).
FM_HD float minus_log_from_bits(std::uint32_t bits) {
  // Uses int32 halves, because a conversion from uint32 has no vector instruction before AVX-512; both products are exact but for one rounding.
  using F = Uncontracted;
  const F u = (F(float(std::int32_t(bits >> 16))) * 65536.0f + (F(float(std::int32_t(bits & 0xFFFFu))) + 0.5f)) * 0x1p-32f;
  std::uint32_t w;
  std::memcpy(&w, &u.value, 4);
  const std::uint32_t shifted = w - 0x3F3504F3u;  // sqrt(1/2) becomes the start of an octave
  const F exponent = float(std::int32_t(shifted) >> 23);
  w = (shifted & 0x007FFFFFu) + 0x3F3504F3u;
  float m;
  std::memcpy(&m, &w, 4);
  const F s = (F(m) - 1.0f) / (F(m) + 1.0f), z = s * s;
  const F series = s * (F(2.0f) + z * (F(0.6666666667f) + z * (F(0.4f) + z * (F(0.2857142857f) + z * 0.2222222222f))));
  return -(exponent * 0.6931471806f + series).value;
}

struct NormalPair {
  float first, second;
};

// Two independent N(0,1) from two words by Box-Muller: sqrt(-2 ln u) (cos, sin)(2 pi v). The angle is reduced to its nearest quarter turn in
// integers, so the Taylor sums see |x| <= pi/4. Error a few 1e-7 of the value; |result| <= 6.8.
FM_HD NormalPair normal_from_bits(std::uint32_t radius_bits, std::uint32_t angle_bits) {
  using F = Uncontracted;
  const F radius = sqrt(F(2.0f) * minus_log_from_bits(radius_bits));
  const std::uint32_t quarter = (angle_bits + 0x20000000u) >> 30;
  const F x = F(float(std::int32_t(angle_bits - (quarter << 30)))) * (1.5707963268f * 0x1p-30f), z = x * x;
  const F sine = x * (F(1.0f) + z * (F(-1.6666666667e-1f) + z * (F(8.3333333333e-3f) + z * (F(-1.9841269841e-4f) + z * 2.7557319224e-6f))));
  const F cosine =
      F(1.0f) + z * (F(-0.5f) + z * (F(4.1666666667e-2f) + z * (F(-1.3888888889e-3f) + z * (F(2.4801587302e-5f) + z * -2.7557319224e-7f))));
  const bool odd = quarter & 1u;
  const float c = odd ? sine.value : cosine.value, s = odd ? cosine.value : sine.value;
  const bool minus_c = ((quarter + 1u) & 2u) != 0, minus_s = (quarter & 2u) != 0;
  return {(radius * (minus_c ? -c : c)).value, (radius * (minus_s ? -s : s)).value};
}

}  // namespace fm
