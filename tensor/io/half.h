// IEEE 754 binary16, which files have and this engine does not: widened to f32 where it is read.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace fm {

inline float half_to_float(std::uint16_t h) {
  const std::uint32_t sign = (h & 0x8000u) << 16, exponent = h >> 10 & 31u, fraction = h & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float tiny = static_cast<float>(fraction) * 0x1p-24f;  // subnormal or zero
  return sign ? -tiny : tiny;
}

// `count` little-endian halves at `from`, which need not be aligned.
inline void widen_halves(const std::byte* from, std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint16_t h;
    std::memcpy(&h, from + 2 * i, 2);
    to[i] = half_to_float(h);
  }
}

}  // namespace fm
