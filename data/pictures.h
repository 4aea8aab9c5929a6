// Images in files, decoded and cropped when they are read: the common part of folders, zip archives and tar shards.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/data_spec.h"
#include "data/image.h"
#include "data/source.h"

namespace fm {

enum class Crop { center, random };  // center_crop, or random_crop with a shorter side of 1.5 size

struct PictureOptions {
  int size = 0;                      // pixels of a side after the crop
  int channels = 3;                  // 3 RGB, 1 grey
  std::int64_t limit_per_class = 0;  // first images only; 0: all
  Crop crop = Crop::center;
};

// Takes size, channels, limit and crop. Scores compare with the test split, so its images are the same every time, whatever the random crops of
// the training. ConfigError: a wrong value, or no size; `usage` shows the form.
PictureOptions picture_options(DataSpec& spec, Split split, const std::string& usage);

class PictureSource : public SampleSource {
 public:
  // ConfigError: a size below 1, or channels other than 1 and 3.
  PictureSource(std::string name, const PictureOptions& options);
  std::string name() const override { return name_; }
  Shape shape() const override { return {options_.channels, options_.size, options_.size}; }
  DType dtype() const override { return DType::u8; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  const std::vector<std::string>& notes() const override { return notes_; }
  bool is_random() const override { return options_.crop == Crop::random; }
  void read(std::int64_t index, const PhiloxBlock& random, void* out) const override;
  // Sample `index` before the crop, at the file's own size and with its own channels, 1 or 3. FileError as from read().
  Image original(std::int64_t index) const { return picture(index, 0); }

 protected:
  // Sample `index` decoded, with `channels` channels, or the file's own for 0. FileError names the file and its member.
  virtual Image picture(std::int64_t index, int channels) const = 0;

  std::string name_;
  PictureOptions options_;
  std::vector<std::string> class_names_, notes_;
};

inline constexpr const char* read_once_error = "crop=random draws anew each epoch, but here images are read once: leave it out";

// Reads all images into memory. ConfigError: no images, is_random, or more than this machine's memory. One FileError names the unreadable images
// (ten at most) and the reasons.
Dataset load_pictures(const SampleSource& source);

// ".jpg" of "a/B.JPG", in lower case; "" without an ending.
std::string ending_of(const std::string& path);
// Whether files with this ending are images that this build reads: .png, .jpg, .jpeg, and .webp if libwebp was found.
bool is_readable_picture(const std::string& ending);
// Images of unsupported formats.
bool is_foreign_picture(const std::string& ending);
// ".png, .jpg and .jpeg".
const char* readable_endings();
// ", or install libwebp ..." for a .webp file in a build without it; "" otherwise.
const char* webp_hint(const std::string& file);

// The samples of a split: of 0 .. labels.size() - 1, in this order, those of the split, at most `limit` of each class (0: all). If the data
// has no split (`hold_out`), every tenth sample of a class belongs to the test split.
std::vector<std::int64_t> rows_of_split(const std::vector<std::int32_t>& labels, std::size_t classes, Split split, bool hold_out, std::int64_t limit);

// "a, b, c and 12 more".
std::string first_of(const std::vector<std::string>& list, std::size_t most, const char* separator = ", ");

}  // namespace fm
