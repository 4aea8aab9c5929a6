#include "data/tar_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>

#include "data/pictures.h"
#include "data/tar.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/crc32c.h"
#include "tensor/io/file_text.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

namespace fs = std::filesystem;
static_assert(std::endian::native == std::endian::little && sizeof(TarSample) == 24 && std::is_trivially_copyable_v<TarSample>);

constexpr std::string_view magic = "fmtarix1";
constexpr std::size_t head_size = 32;
constexpr std::uint64_t max_picture = std::uint64_t(1) << 30, max_cls = 64, max_json = 1 << 20;
constexpr std::int64_t max_label = 10'000'000;

struct Key {
  std::string key, ending;  // "a/b" and ".seg.png" for "a/b.seg.png"
};

Key key_of(const std::string& name) {
  const std::size_t slash = name.rfind('/'), base = slash == name.npos ? 0 : slash + 1, dot = name.find('.', base);
  Key k{name.substr(0, dot), dot == name.npos ? "" : name.substr(dot)};
  for (char& c : k.ending) c = char(std::tolower(static_cast<unsigned char>(c)));
  return k;
}

// Goes through the members of a shard and makes samples of them.
class Scan {
 public:
  explicit Scan(const fs::path& shard) : shard_(shard), reader_(shard) {}

  TarIndex samples() {
    index_.bytes = reader_.file().size(), index_.changed = reader_.file().changed();
    for (TarMember member; reader_.next(member);) {
      const Key key = key_of(member.name);
      if (key.ending.empty() || key.key.empty() || key.key.ends_with('/')) continue;  // without an ending, or hidden
      if (key.key != key_) end_sample(), key_ = key.key;
      take(member, key.ending);
    }
    end_sample();
    refuse_twice();
    return std::move(index_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw FileError(fmt::format("{}: {}", shard_.string(), what)); }

  void take(const TarMember& m, const std::string& ending) {
    any_ = true;
    if (is_readable_picture(ending) || ending == ".webp") {
      if (has_picture_) fail(fmt::format("sample {} has two images, the second is {}: keep one of them", in_quotes(key_), in_quotes(m.name)));
      if (m.size > max_picture || m.size == 0) fail(fmt::format("member {} has {} bytes; images have 1 to {}", in_quotes(m.name), m.size, max_picture));
      has_picture_ = true;
      sample_ = {m.offset, narrow<std::uint32_t>(m.size, "bytes"), m.header_crc, -1, ending == ".webp" ? 1u : 0u};
    } else if (ending == ".cls") {
      if (cls_ >= 0) fail(fmt::format("sample {} has two members {}", in_quotes(key_), in_quotes(m.name)));
      cls_ = class_number(m);
    } else if (ending == ".json") {
      if (json_ >= 0) fail(fmt::format("sample {} has two members {}", in_quotes(key_), in_quotes(m.name)));
      json_ = json_label(m);
    } else {
      others_ += (others_.empty() ? "" : ", ") + one_line(ending, 20);
    }
  }

  std::int64_t checked(const TarMember& m, std::int64_t label) const {
    if (label < 0 || label > max_label) fail(fmt::format("member {}: label {} is outside of [0, {}]", in_quotes(m.name), label, max_label));
    return label;
  }

  std::int64_t class_number(const TarMember& m) {
    const std::string text = reader_.read(m, max_cls);
    std::string_view digits = text;
    while (!digits.empty() && (digits.back() == '\n' || digits.back() == '\r' || digits.back() == ' ')) digits.remove_suffix(1);
    std::int64_t label = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), label);
    if (error != std::errc() || end != digits.data() + digits.size())
      fail(fmt::format("member {} is {}; a label is a whole number, names go into class_names=FILE", in_quotes(m.name), in_quotes(text)));
    return checked(m, label);
  }

  // The label, or -1 if there is none: a .json may contain other information.
  std::int64_t json_label(const TarMember& m) {
    const std::string text = reader_.read(m, max_json);
    const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
    if (json.is_discarded()) fail(fmt::format("member {} is not JSON", in_quotes(m.name)));
    if (!json.is_object() || !json.contains("label") || json["label"].is_null()) return -1;
    const nlohmann::json& label = json["label"];
    if (!label.is_number_integer() || (label.is_number_unsigned() && label.get<std::uint64_t>() > std::uint64_t(max_label)))
      fail(fmt::format("member {}: \"label\" is {}; it must be a whole number in [0, {}]", in_quotes(m.name), one_line(label.dump(), 60), max_label));
    return checked(m, label.get<std::int64_t>());
  }

  void end_sample() {
    if (std::exchange(any_, false)) {
      if (!has_picture_)
        fail(fmt::format("sample {} has no image (.jpg, .jpeg, .png, .webp){}", in_quotes(key_), others_.empty() ? "" : "; it has " + others_));
      sample_.label = narrow<std::int32_t>(cls_ >= 0 ? cls_ : json_, "label");
      index_.samples.push_back(sample_);
      hashes_.push_back(std::hash<std::string>{}(key_));
    }
    has_picture_ = false, cls_ = json_ = -1, others_.clear();
  }

  // Finds repeated keys by hashes of 64 bits. If two hashes agree, the shard is walked again to find the name.
  void refuse_twice() {
    std::sort(hashes_.begin(), hashes_.end());
    const auto twice = std::adjacent_find(hashes_.begin(), hashes_.end());
    if (twice == hashes_.end()) return;
    TarReader again(shard_);
    for (TarMember member; again.next(member);)
      if (const Key key = key_of(member.name); std::hash<std::string>{}(key.key) == *twice)
        fail(fmt::format("sample {} occurs twice, or its members lie apart: put the members of a sample next to each other",
                         in_quotes(key.key)));
  }

  fs::path shard_;
  TarReader reader_;
  TarIndex index_;
  std::vector<std::size_t> hashes_;
  std::string key_, others_;
  bool any_ = false, has_picture_ = false;
  TarSample sample_{};
  std::int64_t cls_ = -1, json_ = -1;
};

template <class T>
void put(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
template <class T>
T get(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

bool checksum_fits([[maybe_unused]] std::string_view bytes) {
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION  // tests/fuzz leaves out checks that random bytes never pass
  return true;
#else
  return crc32c(bytes.substr(0, bytes.size() - 4)) == get<std::uint32_t>(bytes, bytes.size() - 4);
#endif
}

std::optional<TarIndex> read_tar_index(const fs::path& file) {
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return std::nullopt;
  return parse_tar_index(read_file(file));
}

}  // namespace

TarIndex scan_tar(const fs::path& shard) { return Scan(shard).samples(); }

std::string tar_index_bytes(const TarIndex& index) {
  std::string out(magic);
  put(out, index.bytes), put(out, index.changed), put(out, std::uint64_t(index.samples.size()));
  out.append(reinterpret_cast<const char*>(index.samples.data()), index.samples.size() * sizeof(TarSample));
  put(out, crc32c(out));
  return out;
}

std::optional<TarIndex> parse_tar_index(std::string_view bytes) {
  if (bytes.size() < head_size + 4 || !bytes.starts_with(magic)) return std::nullopt;
  const auto n = get<std::uint64_t>(bytes, 24);
  if (n != (bytes.size() - head_size - 4) / sizeof(TarSample) || bytes.size() != head_size + 4 + n * sizeof(TarSample)) return std::nullopt;
  if (!checksum_fits(bytes)) return std::nullopt;
  TarIndex index{get<std::uint64_t>(bytes, 8), get<std::int64_t>(bytes, 16), std::vector<TarSample>(n)};
  if (n > 0) std::memcpy(index.samples.data(), bytes.data() + head_size, n * sizeof(TarSample));
  for (const TarSample& s : index.samples)
    if (s.offset < 512 || s.offset > index.bytes || s.size > index.bytes - s.offset || s.label < -1 || s.label > max_label || s.webp > 1) return std::nullopt;
  return index;
}

TarIndex tar_index(const fs::path& shard, const fs::path& file, std::string& problem) {
  {
    const OpenFile now(shard);
    std::optional<TarIndex> kept = read_tar_index(file);
    if (kept && kept->bytes == now.size() && kept->changed == now.changed()) return std::move(*kept);
  }
  TarIndex index = scan_tar(shard);
  try {
    write_atomically(file, tar_index_bytes(index));
  } catch (const FileError& e) {
    problem = e.what();
  }
  return index;
}

}  // namespace fm
