#include "data/picture_set.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <span>

#include "data/array_rows.h"
#include "data/image_file.h"
#include "data/pictures.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

namespace fs = std::filesystem;

std::span<const std::uint8_t> as_bytes(const std::string& text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }

// The bits of a sample, from the header of a PNG (RFC 2083, 4.1.1). Other formats have 8 bits.
int depth_of(const std::string& bytes) {
  constexpr std::size_t bits_at = 24;
  return bytes.size() > bits_at && bytes.starts_with("\x89PNG") ? static_cast<unsigned char>(bytes[bits_at]) : 8;
}

class FolderSet : public PictureSet {
 public:
  explicit FolderSet(const fs::path& folder) : folder_(folder) {
    list(folder);
    const std::size_t beside = folders_.size();
    if (files_.empty())
      for (std::size_t i = 0; i < folders_.size(); ++i) list(fs::path(folders_[i]));  // a copy, because the list grows meanwhile
    if (files_.empty()) throw FileError(fmt::format("{}: no images: a folder with files of {}{} is needed", folder.string(), readable_endings(), foreign_text()));
    std::sort(files_.begin(), files_.end());
    if (files_.front().find('/') == std::string::npos && beside > 0)
      notes_.push_back(fmt::format("{}: {} subfolder{} left out, because the folder itself has images", folder.string(), beside, beside == 1 ? " is" : "s are"));
    if (foreign_ > 0) notes_.push_back(fmt::format("{}: {} image{} of other formats left out: only {} are read", folder.string(), foreign_, foreign_ == 1 ? " is" : "s are", readable_endings()));
  }

  std::string name() const override { return folder_.string(); }
  std::int64_t count() const override { return std::ssize(files_); }
  std::string member(std::int64_t i) const override { return files_.at(static_cast<std::size_t>(i)); }
  bool has_names() const override { return true; }
  std::string form() const override { return ""; }
  std::string bytes(std::int64_t i) const override { return read_file(folder_ / member(i)); }
  Image decoded(const std::string& bytes, std::int64_t i) const override {
    const std::string place = (folder_ / member(i)).string();
    if (const int bits = depth_of(bytes); bits > 8)
      throw FileError(fmt::format("{}: {} bits a channel: metrics are defined for 8 bits, and programs reduce to them in different ways: convert the image first", place, bits));
    return decode_image(as_bytes(bytes), place, 0, Alpha::dropped);
  }
  const std::vector<std::string>& notes() const override { return notes_; }

 private:
  void list(const fs::path& folder) {
    std::error_code error;
    fs::directory_iterator it(folder, error);
    for (; !error && it != fs::directory_iterator(); it.increment(error)) {
      const std::string name = it->path().filename().string(), ending = ending_of(it->path());
      if (name.front() == '.') continue;
      if (it->is_directory()) folders_.push_back(it->path());
      else if (is_readable_picture(ending)) files_.push_back(it->path().lexically_relative(folder_).generic_string());
      else foreign_ += is_foreign_picture(ending);
    }
    if (error) throw FileError(fmt::format("{}: cannot list the folder: {}", folder.string(), error.message()));
  }
  std::string foreign_text() const { return foreign_ == 0 ? "" : fmt::format(", and its {} images have other formats: convert them", foreign_); }

  fs::path folder_;
  std::vector<std::string> files_, notes_;
  std::vector<fs::path> folders_;
  std::int64_t foreign_ = 0;
};

// arr_0, as evaluators name it, or the only array.
std::string images_in(const std::string& file) {
  if (!is_npz(file)) return "";
  const std::vector<std::string> names = array_names(file);
  if (std::find(names.begin(), names.end(), "arr_0") != names.end()) return "arr_0";
  if (names.size() == 1) return names.front();
  throw FileError(fmt::format("{}: no array arr_0 with images; the file has {}", file, fmt::join(names, ", ")));
}

// Images that are at most 4 pixels wide and this high, or higher, are taken for one image with channels.
constexpr std::int64_t least_height_of_one = 8;

class ArraySet : public PictureSet {
 public:
  explicit ArraySet(const std::string& file) : rows_(file, images_in(file)) {
    const Shape& s = rows_.shape();
    const bool planes = s.rank() == 3, colors = s.rank() == 4 && (s[3] == 1 || s[3] == 3);
    if (planes && s[1] >= least_height_of_one && (s[2] == 1 || s[2] == 3 || s[2] == 4))
      throw FileError(fmt::format("{}: holds {}, which looks like one image (H, W, C), not like images (N, H, W): save x[None]", rows_.place(), to_string(s)));
    if (rows_.type() != FileType::u8 || !(planes || colors))
      throw FileError(fmt::format("{}: holds {} {}: images are uint8 (N, H, W, C) with 1 or 3 channels, or (N, H, W){}", rows_.place(), fm::name_of(rows_.type()), to_string(s),
                                  rows_.type() == FileType::u8 && s.rank() == 4 && (s[1] == 1 || s[1] == 3) ? ": save x.transpose(0, 2, 3, 1)" : ""));
    size_ = {narrow<int>(s[2], "width"), narrow<int>(s[1], "height"), planes ? 1 : narrow<int>(s[3], "channels"), {}};
  }

  std::string name() const override { return rows_.place(); }
  std::int64_t count() const override { return rows_.count(); }
  std::string member(std::int64_t i) const override { return fmt::format("row {}", i); }
  bool has_names() const override { return false; }
  std::string form() const override { return fmt::format("{}x{}x{}", size_.height, size_.width, size_.channels); }
  std::string bytes(std::int64_t i) const override {
    std::string out(static_cast<std::size_t>(rows_.row_size()), '\0');
    rows_.read(i, reinterpret_cast<std::uint8_t*>(out.data()));
    return out;
  }
  Image decoded(const std::string& bytes, std::int64_t) const override {
    Image image = size_;
    const auto all = as_bytes(bytes);
    image.pixels.assign(all.begin(), all.end());
    return image;
  }
  const std::vector<std::string>& notes() const override { return notes_; }

 private:
  ArrayRows rows_;
  Image size_;
  std::vector<std::string> notes_;
};

}  // namespace

std::shared_ptr<const PictureSet> open_picture_set(const std::string& path) {
  if (path.empty()) throw ConfigError("a set of images needs a path: a folder, or a .npz or .npy file");
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return std::make_shared<FolderSet>(path);
  if (!fs::exists(path, ignored)) throw FileError(fmt::format("{}: no such folder or file", path));
  if (!path.ends_with(".npz") && !path.ends_with(".npy"))
    throw FileError(fmt::format("{}: not a set of images: give a folder of images, or a .npz or .npy file of uint8 images (N, H, W, C)", path));
  return std::make_shared<ArraySet>(path);
}

}  // namespace fm
