// Tar files made header by header, so that each field can be wrong: the tests' own writer.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <string>
#include <vector>

namespace fm::test {

struct TarEntry {
  std::string name, bytes;
  char type = '0';
  std::function<void(std::string& header)> spoil = {};  // called before the checksum is written
};

inline void put_field(std::string& header, std::size_t at, const std::string& text) { header.replace(at, text.size(), text); }

inline std::string tar_header(const TarEntry& e, std::uint64_t size) {
  std::string h(512, '\0');
  put_field(h, 0, e.name);
  put_field(h, 100, "0000644"), put_field(h, 108, "0000000"), put_field(h, 116, "0000000");
  put_field(h, 124, fmt::format("{:011o}", size)), put_field(h, 136, "00000000000"), put_field(h, 148, "        ");
  h[156] = e.type;
  put_field(h, 257, std::string("ustar\0" "00", 8));
  if (e.spoil) e.spoil(h);
  unsigned sum = 0;
  for (const char c : h) sum += static_cast<unsigned char>(c);
  put_field(h, 148, fmt::format("{:06o}", sum) + std::string(1, '\0') + " ");
  return h;
}

inline std::string tar_of(const std::vector<TarEntry>& entries, bool ended = true) {
  std::string out;
  for (const TarEntry& e : entries) {
    out += tar_header(e, e.bytes.size()) + e.bytes;
    out.resize((out.size() + 511) / 512 * 512, '\0');
  }
  return ended ? out + std::string(1024, '\0') : out;
}

}  // namespace fm::test
