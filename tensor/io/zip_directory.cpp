// Only the central directory at the end of the file is read: local headers may lack sizes (PyTorch writes them after the data).
#include "tensor/io/zip_directory.h"

#include <fmt/format.h>

#include <algorithm>

#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/io/zip_records.h"

namespace fm {
namespace {

using namespace zip_records;

constexpr std::size_t max_comment = 65535;

[[noreturn]] void fail_reading(const std::string& name, const std::string& reason) { throw FileError(fmt::format("{}: {}", name, reason)); }

// Reads size, compressed and header, in this order, from the 64-bit extra field, each only if its 32-bit field says so. Returns false if the extra
// fields are malformed.
bool take_64_bit_fields(std::string_view extra, ZipMember& m) {
  while (extra.size() >= 4) {
    const std::size_t length = get<std::uint16_t>(extra, 2);
    if (length > extra.size() - 4) return false;
    if (get<std::uint16_t>(extra, 0) == extra64) {
      std::string_view field = extra.substr(4, length);
      for (std::uint64_t* value : {&m.size, &m.compressed, &m.header}) {
        if (*value != in64) continue;
        if (field.size() < 8) return false;
        *value = get<std::uint64_t>(field, 0);
        field.remove_prefix(8);
      }
    }
    extra.remove_prefix(4 + length);
  }
  return true;
}

}  // namespace

ZipDirectory find_zip_directory(std::string_view bytes, const std::string& name) {
  const std::size_t tail = bytes.size() - std::min(bytes.size(), end_size + max_comment);
  std::string signature;
  put(signature, end_signature);
  const std::size_t in_tail = bytes.substr(tail).rfind(signature), end = tail + in_tail;  // searched in the tail only: a file may have gigabytes
  if (in_tail == bytes.npos || bytes.size() - end < end_size) fail_reading(name, "not a zip file, or its end is cut off");

  ZipDirectory d{get<std::uint16_t>(bytes, end + 10), get<std::uint32_t>(bytes, end + 16), get<std::uint32_t>(bytes, end + 12)};
  if (end >= locator64_size && get<std::uint32_t>(bytes, end - locator64_size) == locator64_signature) {
    const auto at = get<std::uint64_t>(bytes, end - locator64_size + 8);
    if (at > end || end - at < end64_size || get<std::uint32_t>(bytes, at) != end64_signature)
      fail_reading(name, "corrupt zip file: its 64-bit end record is not where it should be");
    d = {get<std::uint64_t>(bytes, at + 32), get<std::uint64_t>(bytes, at + 48), get<std::uint64_t>(bytes, at + 40)};
  }
  if (d.start > end || d.size > end - d.start) fail_reading(name, "corrupt zip file: its directory lies outside the file");
  if (d.entries > d.size / central_size) fail_reading(name, fmt::format("corrupt zip file: {} entries in a directory of {} bytes", d.entries, d.size));
  return d;
}

ZipMember read_zip_entry(std::string_view directory, std::uint64_t& at, const std::string& file) {
  if (directory.size() - at < central_size || get<std::uint32_t>(directory, at) != central_signature)
    fail_reading(file, "corrupt zip file: an entry of its directory is invalid or cut off");
  const std::string_view entry = directory.substr(at);
  const std::size_t name = get<std::uint16_t>(entry, 28), extra = get<std::uint16_t>(entry, 30), comment = get<std::uint16_t>(entry, 32);
  if (entry.size() - central_size < name + extra + comment) fail_reading(file, "corrupt zip file: an entry of its directory is invalid or cut off");
  ZipMember m;
  m.name = entry.substr(central_size, name);
  m.method = get<std::uint16_t>(entry, 10);
  m.crc = get<std::uint32_t>(entry, 16);
  m.compressed = get<std::uint32_t>(entry, 20), m.size = get<std::uint32_t>(entry, 24), m.header = get<std::uint32_t>(entry, 42);
  if (!take_64_bit_fields(entry.substr(central_size + name, extra), m)) fail_reading(file, fmt::format("corrupt zip file: the sizes of member {} are missing or cut off", in_quotes(m.name)));
  m.encrypted = get<std::uint16_t>(entry, 8) & 1;
  at += central_size + name + extra + comment;
  return m;
}

}  // namespace fm
