// Element types. bf16 is a storage format: kernels read it, compute in f32, and round back to nearest even.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "tensor/hd.h"

namespace fm {

enum class DType : std::uint8_t { f32, f64, bf16, i32, i64, u8 };

struct bf16 {
  std::uint16_t bits;
  bf16() = default;
  FM_HD explicit bf16(float x) {
    const std::uint32_t u = std::bit_cast<std::uint32_t>(x);
    // Rounds to nearest, ties to even; a NaN stays a NaN. Uses masks rather than a branch, so that loops vectorize.
    const std::uint32_t nan = std::uint32_t(0) - std::uint32_t(static_cast<std::int32_t>(u & 0x7fffffffu) > 0x7f800000);
    const std::uint32_t rounded = u + 0x7fffu + ((u >> 16) & 1u);
    bits = static_cast<std::uint16_t>(((rounded & ~nan) | ((u | 0x400000u) & nan)) >> 16);
  }
  FM_HD operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
};

constexpr std::size_t size_of(DType d) {
  switch (d) {
    case DType::f64: case DType::i64: return 8;
    case DType::f32: case DType::i32: return 4;
    case DType::bf16: return 2;
    default: return 1;
  }
}

constexpr const char* name_of(DType d) {
  switch (d) {
    case DType::f32: return "f32";
    case DType::f64: return "f64";
    case DType::bf16: return "bf16";
    case DType::i32: return "i32";
    case DType::i64: return "i64";
    default: return "u8";
  }
}

constexpr bool is_floating(DType d) { return d == DType::f32 || d == DType::f64 || d == DType::bf16; }

template <class T> struct DTypeOf;
template <> struct DTypeOf<float> { static constexpr DType value = DType::f32; };
template <> struct DTypeOf<double> { static constexpr DType value = DType::f64; };
template <> struct DTypeOf<bf16> { static constexpr DType value = DType::bf16; };
template <> struct DTypeOf<std::int32_t> { static constexpr DType value = DType::i32; };
template <> struct DTypeOf<std::int64_t> { static constexpr DType value = DType::i64; };
template <> struct DTypeOf<std::uint8_t> { static constexpr DType value = DType::u8; };
template <class T> constexpr DType dtype_of = DTypeOf<T>::value;

}  // namespace fm
