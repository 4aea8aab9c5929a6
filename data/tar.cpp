#include "data/tar.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "tensor/error.h"
#include "tensor/io/crc32c.h"
#include "tensor/io/file_text.h"

namespace fm {
namespace {

constexpr std::uint64_t block = 512, max_name = 64 << 10, max_padding = 16 << 20;

std::uint64_t padded(std::uint64_t n) { return (n + block - 1) / block * block; }

// A field's text up to its first zero.
std::string text_of(std::string_view field) { return std::string(field.substr(0, field.find('\0'))); }

bool all_zero(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == '\0'; });
}

// Some old writers summed signed bytes.
bool checksum_fits(std::string_view header, std::uint64_t wanted) {
  std::uint64_t sum = 0;
  std::int64_t with_signs = 0;
  for (std::size_t i = 0; i < block; ++i) {
    const char c = i >= 148 && i < 156 ? ' ' : header[i];
    sum += static_cast<unsigned char>(c), with_signs += static_cast<signed char>(c);
  }
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION  // tests/fuzz leaves out checks that random bytes never pass
  return true;
#endif
  return sum == wanted || (with_signs >= 0 && static_cast<std::uint64_t>(with_signs) == wanted);
}

}  // namespace

TarReader::TarReader(const std::filesystem::path& path) : path_(path), file_(path) {
  if (file_.size() < block) fail(fmt::format("not a tar file: {} bytes", file_.size()));
  const std::string_view head = window(0, block);
  if (head.starts_with("\x1f\x8b") || head.starts_with("\x28\xb5\x2f\xfd") || head.starts_with("BZh") || head.starts_with("\xfd" "7zXZ"))
    fail("a compressed tar file: samples are read in place, so unpack it first (gunzip, unzstd); images are compressed already");
}

void TarReader::fail(const std::string& what) const { throw FileError(fmt::format("{}: {}", path_.string(), what)); }

// Headers of small members lie close to each other: one read serves several.
std::string_view TarReader::window(std::uint64_t offset, std::uint64_t n) {
  constexpr std::uint64_t ahead = 8 << 10;
  if (offset < window_at_ || offset + n > window_at_ + window_.size()) {
    window_ = file_.read(offset, std::max(n, std::min(ahead, file_.size() - std::min(offset, file_.size()))));
    window_at_ = offset;
  }
  return std::string_view(window_).substr(offset - window_at_, n);
}

std::uint64_t TarReader::number(std::string_view field, const char* what) const {
  if (!field.empty() && (field[0] & 0x80)) {  // base 256: big-endian after the first bit; a size below 2^63
    std::uint64_t n = static_cast<unsigned char>(field[0]) & 0x7fu;
    for (const char c : field.substr(1)) {
      if (n >> 55) fail(fmt::format("corrupt tar file: {} beyond 2^63 in the header at byte {}", what, at_));
      n = n << 8 | static_cast<unsigned char>(c);
    }
    return n;
  }
  while (!field.empty() && (field.front() == ' ' || field.front() == '\0')) field.remove_prefix(1);
  while (!field.empty() && (field.back() == ' ' || field.back() == '\0')) field.remove_suffix(1);
  std::uint64_t n = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), n, 8);
  if (!field.empty() && (error != std::errc() || end != field.data() + field.size()))
    fail(fmt::format("corrupt tar file: {} {} in the header at byte {} is not an octal number", what, in_quotes(field), at_));
  return n;
}

// Whether the header at at_ ends the file: two blocks of zeros, followed only by padding.
bool TarReader::read_end() {
  if (!all_zero(window(at_, block))) return false;
  const std::uint64_t rest = file_.size() - at_;
  if (rest < 2 * block) fail("it ends after one block of zeros, where two belong: was it cut off? (`tar -tf` shows what it holds)");
  for (std::uint64_t i = at_; i < file_.size(); i += std::min(max_padding, file_.size() - i)) {
    if (i - at_ >= max_padding) fail(fmt::format("{} bytes after its end: cut them off", rest));
    if (!all_zero(file_.read(i, std::min(max_padding, file_.size() - i))))
      fail(fmt::format("it continues after its end at byte {}: were tar files joined with cat? Join them with tar --concatenate", at_));
  }
  return true;
}

// Records such as "25 path=a/long/name.jpg\n".
void TarReader::take_pax(const std::string& records, bool global, Pending& pending) const {
  std::string_view rest = records;
  const auto bad = [&] { fail(fmt::format("corrupt tar file: bad pax records before the header at byte {}", at_)); };
  while (!rest.empty()) {
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), length);
    const auto digits = static_cast<std::size_t>(end - rest.data());
    if (error != std::errc() || length <= digits + 1 || length > rest.size() || rest[digits] != ' ' || rest[length - 1] != '\n') bad();
    const std::string_view record = rest.substr(digits + 1, length - digits - 2);
    const std::size_t equals = record.find('=');
    if (equals == record.npos) bad();
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key.starts_with("GNU.sparse")) fail(fmt::format("a sparse member before byte {}: pack it again without --sparse", at_));
    if (global && (key == "path" || key == "size")) fail(fmt::format("a global pax record of {} at byte {}: pack it again", key, at_));
    if (key == "path") pending.name = value;
    if (key == "size") pending.size = value;
    rest.remove_prefix(length);
  }
}

// Reads the header at at_ and moves past its member: true for a regular file, false for a directory or a header about the following member.
bool TarReader::take_header(TarMember& member, Pending& pending) {
  const std::string header(window(at_, block));
  if (!checksum_fits(header, number(std::string_view(header).substr(148, 8), "checksum")))
    fail(fmt::format("corrupt tar file: wrong checksum of the header at byte {}", at_));
  const std::string_view view = header;
  const char type = header[156];
  std::string name = text_of(view.substr(0, 100));
  if (view.substr(257, 6) == std::string_view("ustar\0", 6))
    if (const std::string prefix = text_of(view.substr(345, 155)); !prefix.empty()) name = prefix + "/" + name;
  std::uint64_t size = number(view.substr(124, 12), "size");
  const bool extended = type == 'x' || type == 'g' || type == 'L' || type == 'K';
  if (!extended) {
    if (!pending.name.empty()) name = pending.name;
    if (!pending.size.empty()) {
      const auto [end, error] = std::from_chars(pending.size.data(), pending.size.data() + pending.size.size(), size);
      if (error != std::errc() || end != pending.size.data() + pending.size.size())
        fail(fmt::format("corrupt tar file: size {} of member {} is not a whole number", in_quotes(pending.size), in_quotes(name)));
    }
    pending = {};
  }
  const std::uint64_t offset = at_ + block;
  if (size > file_.size() - offset)
    fail(fmt::format("member {} of {} bytes at byte {} goes beyond the end, {} bytes: was the file cut off?", in_quotes(name), size, offset, file_.size()));
  const std::uint64_t after = offset + padded(size);
  const bool folder = type == '5' || ((type == '\0' || type == '0') && name.ends_with('/'));
  if (extended) {
    if (size > max_name) fail(fmt::format("corrupt tar file: {} bytes of names at byte {}; at most {} are read", size, offset, max_name));
    const std::string text(window(offset, size));
    if (type == 'x' || type == 'g') take_pax(text, type == 'g', pending);
    if (type == 'L') pending.name = text_of(text);
  } else if (!folder && type != '\0' && type != '0' && type != '7') {
    fail(fmt::format("member {} is {}: only plain files are read; pack the files themselves (tar --dereference --hard-dereference)", in_quotes(name),
                     type == '1' || type == '2' ? "a link" : type == 'S' ? "a sparse file" : fmt::format("of type {}", in_quotes({&type, 1}))));
  }
  at_ = after;
  if (extended || folder) return false;
  member = {std::move(name), offset, size, crc32c(header)};
  return true;
}

bool TarReader::next(TarMember& member) {
  Pending pending;
  while (true) {
    if (at_ + block > file_.size())
      fail(fmt::format("it ends at byte {} without the blocks of zeros that end a tar file: was it cut off?", file_.size()));
    if (read_end()) return false;
    if (take_header(member, pending)) return true;
  }
}

std::string TarReader::read(const TarMember& member, std::uint64_t most) {
  if (member.size > most) fail(fmt::format("member {} has {} bytes; at most {} are read", in_quotes(member.name), member.size, most));
  return std::string(window(member.offset, member.size));
}

}  // namespace fm
