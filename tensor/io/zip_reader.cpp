// Members are described by the directory (zip_directory.cpp). Of their local headers only the lengths of the variable fields are used.
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>

#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/io/zip.h"
#include "tensor/io/zip_directory.h"
#include "tensor/io/zip_records.h"

namespace fm {
namespace {

using namespace zip_records;

constexpr std::uint64_t max_unpacked = 64 << 20, max_ratio = 16;          // a guard against zip bombs: no member may exceed both
constexpr std::uint64_t max_entries = 1 << 18, max_directory = 32 << 20;  // bounds the memory for the directory

struct Inflater {
  z_stream stream{};
  bool ready = inflateInit2(&stream, -MAX_WBITS) == Z_OK;  // raw deflate
  ~Inflater() {
    if (ready) inflateEnd(&stream);
  }
};

// Unpacks into exactly `size` bytes; false if the data are longer, shorter or invalid.
bool inflate_to(std::string_view packed, std::string& out) {
  Inflater z;
  if (!z.ready) return false;
  constexpr std::size_t piece = std::size_t(1) << 30;  // zlib counts in 32 bits
  std::size_t in_at = 0, out_at = 0;
  int code = Z_OK;
  while (code == Z_OK) {
    const std::size_t in = std::min(packed.size() - in_at, piece), room = std::min(out.size() - out_at, piece);
    z.stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data())) + in_at;
    z.stream.next_out = reinterpret_cast<Bytef*>(out.data()) + out_at;
    z.stream.avail_in = uInt(in), z.stream.avail_out = uInt(room);
    code = inflate(&z.stream, Z_NO_FLUSH);  // Z_BUF_ERROR if no progress is possible
    in_at += in - z.stream.avail_in, out_at += room - z.stream.avail_out;
  }
  return code == Z_STREAM_END && out_at == out.size();
}

}  // namespace

ZipReader::ZipReader(const std::filesystem::path& path) : path_(path), file_(map_file(path)) { read_directory(); }

void ZipReader::fail(const std::string& reason) const { throw FileError(fmt::format("{}: {}", path_.string(), reason)); }

void ZipReader::read_directory() {
  const ZipDirectory d = find_zip_directory(file_.bytes(), path_.string());
  if (d.entries > max_entries || d.size > max_directory)
    fail(fmt::format("its directory has {} members and {} bytes; at most {} and {} are read", d.entries, d.size, max_entries, max_directory));
  const std::string_view directory = file_.bytes().substr(d.start, d.size);
  std::uint64_t at = 0;
  for (std::uint64_t i = 0; i < d.entries; ++i) members_.push_back(read_zip_entry(directory, at, path_.string()));
  check_overlaps();
}

// Throws FileError if two members overlap. Members that share bytes would let a small file unpack to a large one.
void ZipReader::check_overlaps() const {
  std::vector<const ZipMember*> sorted;
  for (const ZipMember& m : members_) sorted.push_back(&m);
  std::sort(sorted.begin(), sorted.end(), [](const ZipMember* a, const ZipMember* b) { return a->header < b->header; });
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const std::string_view data = packed(*sorted[i]);
    const auto end = std::uint64_t(data.data() + data.size() - file_.bytes().data());
    if (i + 1 < sorted.size() && sorted[i + 1]->header < end)
      fail(fmt::format("corrupt zip file: members {} and {} overlap", in_quotes(sorted[i]->name), in_quotes(sorted[i + 1]->name)));
  }
}

const ZipMember* ZipReader::find(std::string_view name) const {
  const auto found = std::find_if(members_.begin(), members_.end(), [&](const ZipMember& m) { return m.name == name; });
  return found == members_.end() ? nullptr : &*found;
}

std::string_view ZipReader::packed(const ZipMember& m) const {
  const std::string_view bytes = file_.bytes();
  if (m.header > bytes.size() || bytes.size() - m.header < local_size || get<std::uint32_t>(bytes, m.header) != local_signature) {
    fail(fmt::format("corrupt zip file: member {} is not at the place that the directory names", in_quotes(m.name)));
  }
  const std::uint64_t start = m.header + local_size + get<std::uint16_t>(bytes, m.header + 26) + get<std::uint16_t>(bytes, m.header + 28);
  if (start > bytes.size() || m.compressed > bytes.size() - start)
    fail(fmt::format("corrupt zip file: member {} lies outside the file", in_quotes(m.name)));
  return bytes.substr(start, m.compressed);
}

void ZipReader::check_method(const ZipMember& m) const {
  if (m.encrypted) fail(fmt::format("member {} is encrypted: write the archive without a password", in_quotes(m.name)));
  if (m.method != 0 && m.method != 8)
    fail(fmt::format("member {} has compression method {}; stored and deflate can be read", in_quotes(m.name), m.method));
}

std::string_view ZipReader::view(const ZipMember& m) const {
  check_method(m);
  if (m.method != 0 || m.size != m.compressed) fail(fmt::format("member {} is compressed: store it (zip -0) to map it", in_quotes(m.name)));
  return packed(m);
}

std::shared_ptr<std::byte> ZipReader::owner_of(std::string_view view) const {
  const auto begin = std::size_t(view.data() - file_.bytes().data());
  return file_.part(begin, begin + view.size());
}

// A checksum of 0 means no checksum: torch.save with compute_crc32 = False stores 0 for every member.
void ZipReader::check_crc(const ZipMember& m, std::string_view bytes) const {
  if (m.crc == 0) return;
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION  // tests/fuzz: checks that random bytes never pass
  return;
#endif
  if (std::uint32_t(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size())) != m.crc)
    fail(fmt::format("corrupt zip file: checksum of member {} is wrong", in_quotes(m.name)));
}

void ZipReader::verify(const ZipMember& m) const { check_crc(m, view(m)); }

std::string ZipReader::read(const ZipMember& m) const {
  check_method(m);
  std::string out;
  if (m.method == 0) {
    out = view(m);
  } else {
    const std::string_view from = packed(m);
    if (m.size > max_unpacked && m.size / max_ratio > from.size())
      fail(fmt::format("member {} unpacks from {} bytes to {}, which may be a zip bomb: store it (numpy.savez, zip -0)", in_quotes(m.name),
                       from.size(), m.size));
    out.resize(m.size);
    if (!inflate_to(from, out)) fail(fmt::format("corrupt zip file: member {} does not unpack", in_quotes(m.name)));
  }
  check_crc(m, out);
  return out;
}

}  // namespace fm
