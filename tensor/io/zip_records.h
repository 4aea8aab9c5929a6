// The byte layout that the zip writer and reader share: signatures and little-endian numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fm::zip_records {

constexpr std::uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50, end_signature = 0x06054b50;
constexpr std::uint32_t end64_signature = 0x06064b50, locator64_signature = 0x07064b50;
constexpr std::size_t local_size = 30, central_size = 46, end_size = 22, end64_size = 56, locator64_size = 20;
constexpr std::uint16_t extra64 = 1;                         // id of the extra field with 64-bit sizes
constexpr std::uint32_t in64 = 0xffffffffu;                  // a 32-bit field that refers to the 64-bit one
constexpr std::uint16_t version_needed = 45;                 // 4.5, the first with zip64
constexpr std::uint16_t date_1980 = 1 << 5 | 1;              // 1 January, so that equal contents give equal files

template <class T>
void put(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) out.push_back(char(std::uint64_t(value) >> 8 * i & 0xff));
}

// Reads a number at position `at`. The caller has checked that `bytes` is long enough.
template <class T>
T get(std::string_view bytes, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value |= std::uint64_t(static_cast<unsigned char>(bytes[at + i])) << 8 * i;
  return T(value);
}

}  // namespace fm::zip_records
