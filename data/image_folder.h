// A folder of class-named folders of PNG and JPEG files (ImageNet's layout). Class names in byte order become labels 0, 1, ...; files are
// taken in byte order. Where PATH/train exists it is the training split, and PATH/test (or PATH/val) the other, with the training split's
// labels; otherwise every tenth file of a class is for the test.
//
// A folder without pictures is no class (an empty one, __pycache__, the @eaDir of a file server): notes() names it. A folder whose pictures
// are all of formats that cannot be read is an error, since a class would be missing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/source.h"

namespace fm {

enum class Crop { center, random };  // center_crop, or random_crop with a shorter side of 1.5 size

struct ImageFolderOptions {
  int size = 0;                      // pixels of a side after the crop
  int channels = 3;                  // 3 RGB, 1 grey
  std::int64_t limit_per_class = 0;  // first files only; 0: all
  Crop crop = Crop::center;
};

struct ImageFile {
  std::filesystem::path path;
  std::int32_t label;
};

// Files are decoded when they are read: for collections larger than memory.
class ImageFolder : public SampleSource {
 public:
  // FileError: no such folder, no pictures for the split, a class whose pictures cannot be read, or one that only the test split has.
  ImageFolder(const std::filesystem::path& path, ImageFolderOptions options, Split split);
  std::string name() const override { return name_; }
  std::int64_t count() const override { return std::int64_t(files_.size()); }
  Shape shape() const override { return {options_.channels, options_.size, options_.size}; }
  DType dtype() const override { return DType::u8; }
  std::int32_t label(std::int64_t index) const override { return files_[std::size_t(index)].label; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  void read(std::int64_t index, const PhiloxBlock& random, void* out) const override;
  bool is_random() const override { return options_.crop == Crop::random; }
  std::optional<std::string> stamp(std::int64_t index) const override;  // the file's name and size

  const std::vector<std::string>& notes() const override { return notes_; }

  const std::vector<ImageFile>& files() const { return files_; }

 private:
  std::string name_;
  ImageFolderOptions options_;
  std::vector<ImageFile> files_;
  std::vector<std::string> class_names_, notes_;
};

// The names of the training split's classes, by the folders alone. FileError as above.
std::vector<std::string> image_folder_classes(const std::filesystem::path& path);

// All of them in memory, cropped at the centre. One FileError names every file that cannot be read (ten of them at most) and why.
Dataset load_image_folder(const std::filesystem::path& path, const ImageFolderOptions& options, Split split);

}  // namespace fm
