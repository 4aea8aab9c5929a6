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
  int size = 0;                      // side after the crop, pixels
  int channels = 3;                  // 3 RGB, 1 grey
  std::int64_t limit_per_class = 0;  // number of images of each class, the first ones; 0: all
  Crop crop = Crop::center;
};

// Takes the keys size, channels, limit and crop from `spec`. The test split always gets center crops, so that scores compare with the same images
// every time. ConfigError: a wrong value, or no size; `usage` shows the form.
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

inline constexpr const char* read_once_error = "crop=random cuts another crop each epoch, but here images are read once: leave crop=random out";

// Reads all images into memory. ConfigError: no images, is_random, or more than this machine's memory. One FileError names the unreadable images
// (ten at most) and the reasons.
Dataset load_pictures(const SampleSource& source);

// ".jpg" of "a/B.JPG", in lower case; "" without an ending.
std::string ending_of(const std::string& path);
// Whether files with this ending are images that this build reads: .png, .jpg, .jpeg, and .webp if libwebp was found.
bool is_readable_picture(const std::string& ending);
// Whether files with this ending are images that this build does not read.
bool is_foreign_picture(const std::string& ending);
// ".png, .jpg and .jpeg".
const char* readable_endings();
// ", or build with libwebp ..." for a .webp file in a build without it; "" otherwise.
const char* webp_hint(const std::string& file);

// Numbers of a split's samples, ascending, at most `limit` of each class (0: all). `labels` are those of all samples. With `hold_out`, for data that
// has no test split, every tenth sample of a class belongs to the test split and the others to training; without it all samples belong to `split`.
std::vector<std::int64_t> rows_of_split(const std::vector<std::int32_t>& labels, std::size_t classes, Split split, bool hold_out, std::int64_t limit);

// "a, b, c and 12 more".
std::string first_of(const std::vector<std::string>& list, std::size_t most, const char* separator = ", ");

}  // namespace fm
