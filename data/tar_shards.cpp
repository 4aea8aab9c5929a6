#include "data/tar_shards.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "data/read_at.h"
#include "data/tar_index.h"
#include "data/threads.h"
#include "tensor/error.h"
#include "tensor/io/crc32c.h"
#include "tensor/io/file_text.h"

namespace fm {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_shards = 100'000;
constexpr std::uint64_t header_size = 512;

[[noreturn]] void refuse(const std::string& text, const std::string& what) { throw ConfigError(fmt::format("shards '{}': {}", text, what)); }

std::vector<std::string> parted(std::string_view text, std::string_view by) {
  std::vector<std::string> parts;
  for (std::size_t at; (at = text.find(by)) != text.npos; text.remove_prefix(at + by.size())) parts.emplace_back(text.substr(0, at));
  parts.emplace_back(text);
  return parts;
}

bool whole_number(std::string_view text, std::uint64_t& n) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  return !text.empty() && error == std::errc() && end == text.data() + text.size();
}

// "08..10" -> 08, 09, 10; "x" -> x.
void add_range(const std::string& item, const std::string& text, std::vector<std::string>& out) {
  const std::size_t dots = item.find("..");
  if (dots == item.npos) return out.push_back(item);
  const std::string first = item.substr(0, dots), last = item.substr(dots + 2);
  std::uint64_t from = 0, to = 0;
  if (!whole_number(first, from) || !whole_number(last, to)) refuse(text, fmt::format("'{}' is not a range of whole numbers, such as 000..099", item));
  if (to < from) refuse(text, fmt::format("the range '{}' falls: write the smaller number first", item));
  if (to - from >= max_shards) refuse(text, fmt::format("the range '{}' has more than {} numbers", item, max_shards));
  for (std::uint64_t n = from; n <= to; ++n) out.push_back(fmt::format("{:0{}}", n, first.size()));
}

std::vector<std::string> expanded(const std::string& pattern, const std::string& text) {
  std::vector<std::string> names{""};
  std::string_view rest = pattern;
  while (!rest.empty()) {
    const std::size_t open = rest.find_first_of("{}");
    for (std::string& name : names) name += rest.substr(0, open);
    if (open == rest.npos) break;
    const std::size_t close = rest.find_first_of("{}", open + 1);
    if (rest[open] == '}' || close == rest.npos || rest[close] == '{') refuse(text, "unbalanced braces: write {000..099}");
    std::vector<std::string> words, next;
    for (const std::string& item : parted(rest.substr(open + 1, close - open - 1), ",")) add_range(item, text, words);
    if (names.size() * words.size() > max_shards) refuse(text, fmt::format("more than {} shards", max_shards));
    for (const std::string& name : names)
      for (const std::string& word : words) next.push_back(name + word);
    names = std::move(next);
    rest.remove_prefix(close + 1);
  }
  return names;
}

class TarStore : public PictureStore {
 public:
  TarStore(const std::string& names, const fs::path& index_folder) : name_(names) {
    for (const std::string& name : shard_names(names)) shards_.push_back({name, {}, 0});
    std::vector<std::string> problems(shards_.size());
    on_threads(std::ssize(shards_), 4, [&](std::int64_t i) {  // the first opening reads every header, and waits for the disk
      const auto k = std::size_t(i);
      shards_[k].samples = tar_index(shards_[k].path, index_file(shards_[k].path, index_folder), problems[k]).samples;
      shards_[k].samples.shrink_to_fit();
    });
    for (Shard& shard : shards_) shard.first = count_, count_ += std::ssize(shard.samples);
    if (count_ == 0) throw FileError(fmt::format("{}: no samples in {} shards", name_, shards_.size()));
    std::erase(problems, std::string());
    if (!problems.empty())
      notes_.push_back(fmt::format("{}: {} of {} indices could not be written, so the next start makes them again: {}; index=FOLDER writes them elsewhere", name_,
                                   problems.size(), shards_.size(), problems.front()));
    refuse_webp();
  }
  std::string name() const override { return name_; }
  std::int64_t count() const override { return count_; }
  std::int32_t label(std::int64_t i) const override { return at(i).second.label; }
  std::vector<std::string> notes() const override { return notes_; }
  std::string stamp(std::int64_t i) const override {
    const TarSample& s = at(i).second;
    return fmt::format("{} {:08x} ", s.size, s.header_crc);
  }

  // The member's name from its header, as far as readable; a long name is shortened.
  std::string member(std::int64_t i) const override {
    const auto [shard, s] = at(i);
    std::string name = fmt::format("the sample at byte {}", s.offset);
    try {
      const std::string header = OpenFile(shard.path).read(s.offset - header_size, header_size);
      name = one_line(header.substr(0, std::min<std::size_t>(header.find('\0'), 100)));
    } catch (const FileError&) {
    }
    return fmt::format("{}: {}", shard.path.string(), name);
  }

  std::string bytes(std::int64_t i) const override {
    const auto [shard, s] = at(i);
    std::string bytes = OpenFile(shard.path).read(s.offset - header_size, header_size + s.size);
    if (crc32c(std::string_view(bytes).substr(0, header_size)) != s.header_crc)
      throw FileError(fmt::format("{}: it has changed since its index was made, although size and time are the same: remove {}", shard.path.string(),
                                  "its .flowmap-index"));
    bytes.erase(0, header_size);
    return bytes;
  }

 private:
  struct Shard {
    fs::path path;
    std::vector<TarSample> samples;
    std::int64_t first = 0;  // number of the shard's first sample
  };

  static fs::path index_file(const fs::path& shard, const fs::path& folder) {
    const std::string ending = ".flowmap-index";
    if (folder.empty()) return shard.string() + ending;
    const std::string whole = fs::absolute(shard).lexically_normal().string();  // tells shards of the same name in two folders apart
    return folder / fmt::format("{}-{:08x}{}", shard.filename().string(), crc32c(whole), ending);
  }

  std::pair<const Shard&, const TarSample&> at(std::int64_t i) const {
    const auto after = std::upper_bound(shards_.begin(), shards_.end(), i, [](std::int64_t n, const Shard& s) { return n < s.first; });
    const Shard& shard = *(after - 1);
    return {shard, shard.samples[std::size_t(i - shard.first)]};
  }

  // FileError names and counts WebP images: leaving them out silently would change the data.
  void refuse_webp() const {
    if (is_readable_picture(".webp")) return;
    std::int64_t n = 0, first = -1;
    for (std::int64_t i = 0; i < count_; ++i)
      if (at(i).second.webp != 0 && n++ == 0) first = i;
    if (n > 0)
      throw FileError(fmt::format("{}: {} of {} images are WebP, the first is {}: convert them{}", name_, n, count_, member(first), webp_hint("a.webp")));
  }

  std::string name_;
  std::vector<Shard> shards_;
  std::int64_t count_ = 0;
  std::vector<std::string> notes_;
};

}  // namespace

std::vector<std::string> shard_names(const std::string& text) {
  std::vector<std::string> all;
  for (const std::string& pattern : parted(text, "::")) {
    if (pattern.empty()) refuse(text, "a name is empty");
    for (std::string& name : expanded(pattern, text)) all.push_back(std::move(name));
    if (all.size() > max_shards) refuse(text, fmt::format("more than {} shards", max_shards));
  }
  return all;
}

std::shared_ptr<const PictureStore> tar_store(const std::string& names, const fs::path& index_folder) {
  return std::make_shared<TarStore>(names, index_folder);
}

std::shared_ptr<const SampleSource> open_tar(DataSpec& spec, Split split) {
  const std::string index = spec.string("index");
  if (!index.empty() && !fs::is_directory(index))
    throw ConfigError(fmt::format("data '{}': index={}: no such folder: make it first", spec.text, index));
  return open_stored(spec, split, "tar:SHARDS?size=N", [&](const std::string& names) { return tar_store(names, index); });
}

}  // namespace fm
