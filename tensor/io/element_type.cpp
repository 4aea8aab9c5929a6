#include "tensor/io/element_type.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "tensor/io/file_text.h"

namespace fm {
namespace {

static_assert(std::endian::native == std::endian::little);

struct Row {
  const char* name;
  std::size_t size;
  std::optional<DType> dtype;
};

// In the order of FileType.
constexpr Row rows[] = {{"f32", 4, DType::f32},
                        {"f64", 8, DType::f64},
                        {"f16", 2, DType::f32},
                        {"bf16", 2, DType::bf16},
                        {"f8_e4m3", 1, DType::f32},
                        {"f8_e5m2", 1, DType::f32},
                        {"f8_e4m3fnuz", 1, DType::f32},
                        {"f8_e5m2fnuz", 1, DType::f32},
                        {"f8_e8m0", 1, DType::f32},
                        {"i8", 1, DType::i32},
                        {"i16", 2, DType::i32},
                        {"i32", 4, DType::i32},
                        {"i64", 8, DType::i64},
                        {"u8", 1, DType::u8},
                        {"u16", 2, DType::i32},
                        {"u32", 4, DType::i64},
                        {"u64", 8, DType::i64},
                        {"bool", 1, DType::u8},
                        {"complex32", 4, std::nullopt},
                        {"complex64", 8, std::nullopt},
                        {"complex128", 16, std::nullopt},
                        {"an 8-bit quantized type", 1, std::nullopt},
                        {"a 32-bit quantized type", 4, std::nullopt},
                        {"f128 (long double)", 16, std::nullopt}};
static_assert(std::size(rows) == std::size_t(FileType::f128) + 1);

const Row& row(FileType type) { return rows[std::size_t(type)]; }

// Decodes a byte of sign, exponent and fraction, from the highest bit. The format has no infinities; the caller handles NaN.
float small_float(unsigned byte, int fraction_bits, int bias) {
  const int fraction = int(byte & ((1u << fraction_bits) - 1)), exponent = int((byte & 0x7f) >> fraction_bits);
  const float size = exponent == 0 ? std::ldexp(float(fraction), 1 - bias - fraction_bits)
                                   : std::ldexp(float(fraction + (1 << fraction_bits)), exponent - bias - fraction_bits);
  return byte & 0x80 ? -size : size;
}

float half_to_float(std::uint16_t h) {
  const std::uint32_t sign = (h & 0x8000u) << 16, exponent = h >> 10 & 31u, fraction = h & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float tiny = static_cast<float>(fraction) * 0x1p-24f;  // subnormal or zero
  return sign ? -tiny : tiny;
}

// E4M3 and E5M2 are those of "FP8 Formats for Deep Learning" (arXiv:2209.05433), E8M0 is that of OCP's microscaling formats. FNUZ: finite, with
// NaN in place of -0.
float eight_bits(unsigned byte, FileType type) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  switch (type) {
    case FileType::f8_e4m3:
      return (byte & 0x7f) == 0x7f ? nan : small_float(byte, 3, 7);
    case FileType::f8_e5m2:
      return half_to_float(static_cast<std::uint16_t>(byte << 8));
    case FileType::f8_e4m3fnuz:
      return byte == 0x80 ? nan : small_float(byte, 3, 8);
    case FileType::f8_e5m2fnuz:
      return byte == 0x80 ? nan : small_float(byte, 2, 16);
    default:
      return byte == 0xff ? nan : std::ldexp(1.0f, int(byte) - 127);
  }
}

template <class T>
T element(const std::byte* from, bool big_endian) {
  std::array<std::byte, sizeof(T)> bytes;
  for (std::size_t i = 0; i < sizeof(T); ++i) bytes[i] = from[big_endian ? sizeof(T) - 1 - i : i];
  return std::bit_cast<T>(bytes);
}

template <class From, class To, class F>
void convert(const std::byte* from, Tensor& to, bool big_endian, F&& f) {
  To* out = to.data<To>();
  for (std::int64_t i = 0, n = to.numel(); i < n; ++i) out[i] = f(element<From>(from + std::size_t(i) * sizeof(From), big_endian));
}

// Copies elements of a type that the engine has, and reverses the bytes of big-endian ones.
void copy(const std::byte* from, Tensor& to, bool big_endian) {
  const std::size_t size = size_of(to.dtype());
  if (to.bytes() == 0) return;
  auto* out = static_cast<std::byte*>(to.raw());
  std::memcpy(out, from, to.bytes());
  if (big_endian)
    for (std::size_t at = 0; at < to.bytes(); at += size)
      for (std::size_t i = 0; i < size / 2; ++i) std::swap(out[at + i], out[at + size - 1 - i]);
}

void widen_f8(const std::byte* from, Tensor& to, FileType type) {
  std::array<float, 256> values;
  for (unsigned b = 0; b < 256; ++b) values[b] = eight_bits(b, type);
  convert<std::uint8_t, float>(from, to, false, [&](std::uint8_t b) { return values[b]; });
}

void widen(const std::byte* from, Tensor& to, FileType type, const std::string& place, bool big) {
  const auto same = [](auto x) { return x; };
  switch (type) {
    case FileType::f16:
      return convert<std::uint16_t, float>(from, to, big, half_to_float);
    case FileType::i8:
      return convert<std::int8_t, std::int32_t>(from, to, big, same);
    case FileType::i16:
      return convert<std::int16_t, std::int32_t>(from, to, big, same);
    case FileType::u16:
      return convert<std::uint16_t, std::int32_t>(from, to, big, same);
    case FileType::u32:
      return convert<std::uint32_t, std::int64_t>(from, to, big, same);
    case FileType::u64:
      return convert<std::uint64_t, std::int64_t>(from, to, big, [&](std::uint64_t x) {
        if (x > std::uint64_t(std::numeric_limits<std::int64_t>::max()))
          throw UnreadError(place, fmt::format("{} does not fit into i64, the type that u64 is read as: save the array as f64 or in two parts", x));
        return std::int64_t(x);
      });
    default:
      return widen_f8(from, to, type);
  }
}

// True if elements are read without a conversion. A u64 has the size of an i64, but its values must be checked.
bool as_it_is(FileType type) { return type != FileType::u64 && size_of(type) == size_of(*read_as(type)); }

}  // namespace

const char* name_of(FileType type) { return row(type).name; }
std::size_t size_of(FileType type) { return row(type).size; }
std::optional<DType> read_as(FileType type) { return row(type).dtype; }

std::string cannot_read(FileType type) {
  const bool complex = type == FileType::complex32 || type == FileType::complex64 || type == FileType::complex128;
  const bool quantized = type == FileType::quantized8 || type == FileType::quantized32;
  return fmt::format("elements of {} cannot be read: {}", name_of(type),
                     complex     ? "save its real and its imaginary part as two tensors"
                     : quantized ? "save its .dequantize()"
                                 : "convert it to f32 or f64 before saving");
}

std::string cannot_read(std::string_view unknown) {
  return fmt::format("elements of type {} cannot be read: convert it to f32 or bf16 before saving, as t.to(torch.bfloat16) does",
                     in_quotes(unknown));
}

Tensor read_elements(const std::shared_ptr<std::byte>& owner, const std::byte* data, std::int64_t count, FileType type,
                     const std::string& place, bool big_endian) {
  if (!read_as(type)) throw UnreadError(place, cannot_read(type));
  const DType dtype = *read_as(type);
  const bool swapped = big_endian && size_of(type) > 1, same = as_it_is(type);
  auto* bytes = const_cast<std::byte*>(data);  // writable: a private mapping, or memory of the reader
  if (same && !swapped && reinterpret_cast<std::uintptr_t>(data) % size_of(dtype) == 0)
    return Tensor::view_of({owner, bytes}, bytes, {count}, dtype);
  Tensor out = Tensor::empty({count}, dtype, Device{});
  if (same)
    copy(data, out, swapped);
  else
    widen(data, out, type, place, swapped);
  return out;
}

}  // namespace fm
