#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>

#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/io/zip.h"
#include "tensor/io/zip_records.h"

namespace fm {
namespace {

using namespace zip_records;

std::uint32_t crc_of(std::string_view bytes, std::uint32_t before = 0) {
  if (bytes.empty()) return before;  // for a null pointer zlib would return the initial checksum
  return std::uint32_t(crc32_z(before, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

// Marks a name as UTF-8. Without this flag readers (NumPy, for example) decode the name as code page 437.
constexpr std::uint16_t utf8_name = 1 << 11;

std::uint16_t flags_of(const std::string& name) {
  const bool ascii = std::all_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  return ascii ? std::uint16_t(0) : utf8_name;
}

// Throws FileError for a name that readers misread: they end a name at a zero byte, and refuse the whole archive if a name is not UTF-8.
void check_name(const std::string& name) {
  constexpr std::size_t longest = 65535;
  if (name.size() > longest) throw FileError(fmt::format("zip: a member's name has {} bytes; at most {} are possible", name.size(), longest));
  if (!is_utf8(name) || name.find('\0') != name.npos)
    throw FileError(fmt::format("zip: a member cannot be named {}: use UTF-8 without zero bytes", in_quotes(name)));
}

// The bytes of a member begin at a multiple of this in the file, so that mapped arrays are aligned. The gap before them is filled with the extra
// field that PyTorch uses.
constexpr std::size_t alignment = 64;
constexpr std::uint16_t padding_field = 0x4246;

std::size_t padded_header_size(const ZipMember& m) {
  const std::size_t least = 30 + m.name.size() + 20 + 4;
  return (m.header + least + alignment - 1) / alignment * alignment - m.header;
}

std::string local_header(const ZipMember& m) {
  const std::size_t size = padded_header_size(m), padding = size - 30 - m.name.size() - 20 - 4;
  std::string h;
  put(h, local_signature);
  for (std::uint16_t v : {version_needed, flags_of(m.name), std::uint16_t(0), std::uint16_t(0), date_1980}) put(h, v);
  put(h, m.crc);
  put(h, in64), put(h, in64);
  put(h, std::uint16_t(m.name.size())), put(h, std::uint16_t(20 + 4 + padding));
  h += m.name;
  put(h, extra64), put(h, std::uint16_t(16));
  put(h, m.size), put(h, m.compressed);
  put(h, padding_field), put(h, std::uint16_t(padding));
  return h + std::string(padding, '\0');
}

std::string central_header(const ZipMember& m) {
  std::string h;
  put(h, central_signature);
  for (std::uint16_t v : {version_needed, version_needed, flags_of(m.name), std::uint16_t(0), std::uint16_t(0), date_1980}) put(h, v);
  put(h, m.crc);
  put(h, in64), put(h, in64);
  put(h, std::uint16_t(m.name.size())), put(h, std::uint16_t(28));
  put(h, std::uint16_t(0)), put(h, std::uint16_t(0)), put(h, std::uint16_t(0));  // comment, disk, internal attributes
  put(h, std::uint32_t(0600) << 16), put(h, in64);                               // mode of the unpacked file, position
  h += m.name;
  put(h, extra64), put(h, std::uint16_t(24));
  put(h, m.size), put(h, m.compressed), put(h, m.header);
  return h;
}

// Returns the 64-bit record, its locator, and the old record that refers readers to them.
std::string end_records(std::uint64_t entries, std::uint64_t start, std::uint64_t size) {
  std::string h;
  put(h, end64_signature), put(h, std::uint64_t(end64_size - 12)), put(h, version_needed), put(h, version_needed);
  put(h, std::uint32_t(0)), put(h, std::uint32_t(0));
  put(h, entries), put(h, entries), put(h, size), put(h, start);
  put(h, locator64_signature), put(h, std::uint32_t(0)), put(h, start + size), put(h, std::uint32_t(1));
  put(h, end_signature), put(h, std::uint32_t(0));
  put(h, std::uint16_t(0xffff)), put(h, std::uint16_t(0xffff)), put(h, in64), put(h, in64), put(h, std::uint16_t(0));
  return h;
}

}  // namespace

ZipWriter::ZipWriter(const std::filesystem::path& path) : file_(path) {}

void ZipWriter::append(std::string_view bytes) {
  file_.write(bytes);
  size_ += bytes.size();
}

void ZipWriter::begin(const std::string& name, std::size_t head_size) {
  if (open_) throw FileError(fmt::format("zip: member {} begins before {} has ended", in_quotes(name), in_quotes(members_.back().name)));
  check_name(name);
  for (const ZipMember& m : members_) {
    if (m.name == name) throw FileError(fmt::format("zip: there is a member {} already", in_quotes(name)));
  }
  ZipMember m;
  m.name = name, m.header = size_;
  members_.push_back(m);
  head_size_ = head_size, body_size_ = 0, open_ = true;
  append(local_header(m));
  append(std::string(head_size, '\0'));
}

void ZipWriter::write(std::string_view bytes) {
  if (!open_) throw FileError("zip: bytes are written outside of a member");
  members_.back().crc = crc_of(bytes, members_.back().crc);
  body_size_ += bytes.size();
  append(bytes);
}

void ZipWriter::end(std::string_view head) {
  if (!open_ || head.size() != head_size_) {
    throw FileError(fmt::format("zip: the head of a member has {} bytes instead of the announced {}", head.size(), head_size_));
  }
  ZipMember& m = members_.back();
  m.size = m.compressed = head_size_ + body_size_;
  m.crc = std::uint32_t(crc32_combine(crc_of(head), m.crc, z_off_t(body_size_)));
  const std::string header = local_header(m);
  file_.overwrite(m.header, header);
  file_.overwrite(m.header + header.size(), head);
  open_ = false;
}

void ZipWriter::finish() {
  if (open_) throw FileError(fmt::format("zip: member {} has not ended", in_quotes(members_.back().name)));
  const std::uint64_t start = size_;
  for (const ZipMember& m : members_) append(central_header(m));
  append(end_records(members_.size(), start, size_ - start));
  file_.commit();
}

}  // namespace fm
