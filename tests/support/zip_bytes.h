// Zip archives made byte by byte, so that each field can be wrong: the tests' own writer, with 32-bit records.
#pragma once

#include <zlib.h>

#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "tensor/io/zip.h"
#include "tensor/io/zip_records.h"

namespace fm::test {

struct Member {
  std::string name, bytes;
  bool deflated = false;
};

// The fields of a directory entry; a test may change them before it is written.
struct Entry {
  std::uint16_t flags = 0, method = 0;
  std::uint32_t crc = 0, compressed = 0, size = 0, header = 0;
};
using Spoil = std::function<void(std::vector<Entry>&)>;

inline std::string deflated(const std::string& content) {
  std::string packed(compressBound(uLong(content.size())) + 64, '\0');
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data())), z.avail_in = uInt(content.size());
  z.next_out = reinterpret_cast<Bytef*>(packed.data()), z.avail_out = uInt(packed.size());
  deflate(&z, Z_FINISH);
  packed.resize(z.total_out);
  deflateEnd(&z);
  return packed;
}

inline void put_entry(std::string& out, const Entry& e, std::size_t name) {
  using zip_records::put;
  put(out, std::uint16_t(20)), put(out, e.flags), put(out, e.method), put(out, std::uint32_t(0));
  put(out, e.crc), put(out, e.compressed), put(out, e.size), put(out, std::uint16_t(name)), put(out, std::uint16_t(0));
}

inline std::string zip_of(const std::vector<Member>& members, const Spoil& spoil = {}) {
  using namespace zip_records;
  std::string out;
  std::vector<Entry> entries;
  for (const Member& m : members) {
    const std::string packed = m.deflated ? deflated(m.bytes) : m.bytes;
    Entry e{.method = std::uint16_t(m.deflated ? 8 : 0), .header = std::uint32_t(out.size())};
    e.crc = std::uint32_t(crc32_z(0, reinterpret_cast<const Bytef*>(m.bytes.data()), m.bytes.size()));
    e.compressed = std::uint32_t(packed.size()), e.size = std::uint32_t(m.bytes.size());
    put(out, local_signature), put_entry(out, e, m.name.size());
    out += m.name + packed;
    entries.push_back(e);
  }
  if (spoil) spoil(entries);
  const auto start = std::uint32_t(out.size());
  for (std::size_t i = 0; i < members.size(); ++i) {
    put(out, central_signature), put(out, std::uint16_t(20)), put_entry(out, entries[i], members[i].name.size());
    out += std::string(10, '\0');
    put(out, entries[i].header);
    out += members[i].name;
  }
  const auto length = std::uint32_t(out.size()) - start;
  put(out, end_signature), put(out, std::uint32_t(0));
  put(out, std::uint16_t(members.size())), put(out, std::uint16_t(members.size())), put(out, length), put(out, start),
      put(out, std::uint16_t(0));
  return out;
}

inline std::vector<Member> members_of(const std::filesystem::path& file) {
  const ZipReader zip(file);
  std::vector<Member> out;
  for (const ZipMember& m : zip.members()) out.push_back({m.name, zip.read(m)});
  return out;
}

inline void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace fm::test
