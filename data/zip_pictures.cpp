#include "data/zip_pictures.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <utility>

#include "data/dataset_json.h"
#include "data/read_at.h"
#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/io/mapped_file.h"
#include "tensor/io/zip_directory.h"
#include "tensor/io/zip_records.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

namespace fs = std::filesystem;
using namespace zip_records;

constexpr std::uint64_t max_zip_picture = std::uint64_t(1) << 30, max_zip_json = std::uint64_t(1) << 30;

struct Entry {
  std::uint64_t header;     // place of the local header in the file
  std::uint32_t size, crc;
  std::uint64_t name;       // place of the name in the directory
};

class ZipStore : public PictureStore {
 public:
  explicit ZipStore(const fs::path& path) : path_(path), file_(map_file(path)) {
    const ZipDirectory found = find_zip_directory(file_.bytes(), path.string());
    directory_start_ = found.start;
    directory_ = file_.bytes().substr(found.start, found.size);
    entries_.reserve(found.entries);
    read_directory(found.entries);
    take_labels();
    forget_directory();                                      // from here on names are read for messages only
  }

  std::string name() const override { return path_.string(); }
  std::int64_t count() const override { return std::ssize(entries_); }
  std::int32_t label(std::int64_t i) const override { return labels_.labels[std::size_t(i)]; }
  std::string member(std::int64_t i) const override { return fmt::format("{}: {}", path_.string(), one_line(name_of(entries_[std::size_t(i)]))); }
  std::string bytes(std::int64_t i) const override { return read(entries_[std::size_t(i)]); }
  std::string stamp(std::int64_t i) const override {
    const Entry& e = entries_[std::size_t(i)];
    return fmt::format("{} {:08x} ", e.size, e.crc);
  }
  std::vector<std::string> class_names() const override { return labels_.class_names; }
  std::vector<std::string> notes() const override { return labels_.notes; }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw FileError(fmt::format("{}: {}", path_.string(), what)); }

  std::string_view name_of(const Entry& e) const {
    return directory_.substr(e.name, get<std::uint16_t>(directory_, e.name - central_size + 28));
  }

  void check(const ZipMember& m, std::uint64_t most) const {
    if (m.encrypted) fail(fmt::format("member {} is encrypted: write the archive without a password", in_quotes(m.name)));
    if (m.method != 0)
      fail(fmt::format("member {} is compressed (method {}): images are read in place, so store them: zip -0 -r, or dataset_tool.py",
                       in_quotes(m.name), m.method));
    if (m.compressed != m.size) fail(fmt::format("corrupt zip file: stored member {} has {} bytes compressed, but {} uncompressed", in_quotes(m.name), m.compressed, m.size));
    if (m.size > most) fail(fmt::format("member {} has {} bytes; at most {} are read", in_quotes(m.name), m.size, most));
    if (m.header > file_.size || file_.size - m.header < local_size + m.name.size() + m.size)
      fail(fmt::format("corrupt zip file: member {} of {} bytes lies outside the file", in_quotes(m.name), m.size));
  }

  // Releases the pages of the directory that were read: a million entries take 100 MB.
  void forget_directory() const { file_.forget(directory_start_, directory_start_ + directory_.size()); }

  void read_directory(std::uint64_t entries) {
    constexpr std::uint64_t often = 16384;
    std::uint64_t foreign = 0, end_of_last = 0;
    std::string first_foreign;
    std::string_view last;
    bool names_rise = true, places_rise = true;
    std::uint64_t at = 0;
    for (std::uint64_t i = 0; i < entries; ++i) {
      if (i % often == 0) forget_directory();
      const std::uint64_t begin = at;
      const ZipMember m = read_zip_entry(directory_, at, path_.string());
      const std::string ending = ending_of(m.name);
      const bool json = m.name == "dataset.json", picture = is_readable_picture(ending);
      if (m.name.ends_with("/dataset.json"))
        fail(fmt::format("{} must lie at the top: make the zip file inside that folder", in_quotes(m.name)));
      if (is_foreign_picture(ending) && foreign++ == 0) first_foreign = m.name;
      if (!json && !picture) continue;
      check(m, json ? max_zip_json : max_zip_picture);
      const Entry e{m.header, narrow<std::uint32_t>(m.size, "bytes"), m.crc, begin + central_size};
      places_rise = places_rise && m.header >= end_of_last;
      end_of_last = end_of(e);
      if (picture) {
        names_rise = names_rise && (entries_.empty() || last < name_of(e));
        last = name_of(e);
        entries_.push_back(e);
      } else if (std::exchange(has_json_, true)) {
        fail("two members are named \"dataset.json\"");
      } else {
        json_ = e;
      }
    }
    if (foreign > 0)
      fail(fmt::format("{} images are of formats that this build does not read, the first is {}; {} are read: convert them{}", foreign,
                       in_quotes(first_foreign), readable_endings(), webp_hint(first_foreign)));
    if (entries_.empty()) fail(fmt::format("no images: files of {} are read", readable_endings()));
    if (!places_rise) check_overlaps();
    if (!names_rise) sort_by_name();
  }

  std::uint64_t end_of(const Entry& e) const { return e.header + local_size + name_of(e).size() + e.size; }

  void check_overlaps() const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> places;
    for (const Entry& e : entries_) places.emplace_back(e.header, end_of(e));
    if (has_json_) places.emplace_back(json_.header, end_of(json_));
    std::sort(places.begin(), places.end());
    for (std::size_t i = 1; i < places.size(); ++i)
      if (places[i].first < places[i - 1].second)
        fail(fmt::format("corrupt zip file: members overlap at byte {}", places[i].first));  // overlaps could turn few bytes into many
  }

  void sort_by_name() {
    std::sort(entries_.begin(), entries_.end(), [&](const Entry& a, const Entry& b) { return name_of(a) < name_of(b); });
    for (std::size_t i = 1; i < entries_.size(); ++i)
      if (name_of(entries_[i - 1]) == name_of(entries_[i])) fail(fmt::format("two members are named {}", in_quotes(name_of(entries_[i]))));
  }

  void take_labels() {
    if (!has_json_)
      fail("no dataset.json with the labels at the top: {\"labels\": [[\"00000/img00000000.png\", 5], ...]}, or {\"labels\": null} for images without labels");
    const std::uint64_t start = checked_json();
    const auto name = [this](std::int64_t i) { return name_of(entries_[std::size_t(i)]); };
    const auto passed = [&](std::size_t bytes) { file_.forget(start, start + bytes), forget_directory(); };
    labels_ = read_dataset_json(file_.bytes().substr(start, json_.size), path_.string() + ": dataset.json", count(), name, passed);
    file_.forget(start, start + json_.size);
  }

  // The position of dataset.json's text in the file, after its checksum was verified.
  std::uint64_t checked_json() const {
    constexpr std::uint64_t piece = 1 << 20;
    const std::uint64_t start = start_of(json_, file_.bytes().substr(json_.header, local_size));
    if (start > file_.size || file_.size - start < json_.size) fail("corrupt zip file: member \"dataset.json\" lies outside the file");
    std::uint32_t crc = 0;
    for (std::uint64_t at = 0; at < json_.size; at += piece) {
      const std::string_view bytes = file_.bytes().substr(start + at, std::min(piece, json_.size - at));
      crc = crc_of(bytes, crc);
      file_.forget(start, start + at);
    }
    check_crc(json_, crc);
    return start;
  }

  // The position of a member's bytes, whose local header is `head`. Checked against the directory's information.
  std::uint64_t start_of(const Entry& e, std::string_view head) const {
    const std::string_view wanted = name_of(e);
    if (get<std::uint32_t>(head, 0) != local_signature || get<std::uint16_t>(head, 26) != wanted.size())
      fail(fmt::format("corrupt zip file: member {} is not at the place that the directory names", in_quotes(wanted)));
    return e.header + local_size + wanted.size() + get<std::uint16_t>(head, 28);
  }

  static std::uint32_t crc_of(std::string_view bytes, std::uint32_t before) {
    return std::uint32_t(crc32_z(before, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));  // fits: a CRC-32
  }

  void check_crc([[maybe_unused]] const Entry& e, [[maybe_unused]] std::uint32_t crc) const {
#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION  // tests/fuzz leaves out checks that random bytes never pass
    if (crc != e.crc) fail(fmt::format("corrupt zip file: checksum of member {} is wrong", in_quotes(name_of(e))));
#endif
  }

  std::string read(const Entry& e) const {
    const OpenFile file(path_);
    std::string bytes = file.read(start_of(e, file.read(e.header, local_size)), e.size);
    check_crc(e, crc_of(bytes, 0));
    return bytes;
  }

  fs::path path_;
  MappedFile file_;
  std::uint64_t directory_start_ = 0;
  std::string_view directory_;
  std::vector<Entry> entries_;
  Entry json_{};
  bool has_json_ = false;
  NamedLabels labels_;
};

}  // namespace

std::shared_ptr<const PictureStore> zip_store(const fs::path& path) { return std::make_shared<ZipStore>(path); }

std::shared_ptr<const SampleSource> open_zip(DataSpec& spec, Split split) {
  return open_stored(spec, split, "zip:FILE.zip?size=N", [](const std::string& path) { return zip_store(path); });
}

}  // namespace fm
