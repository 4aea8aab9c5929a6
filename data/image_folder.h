// A folder of class-named folders of PNG and JPEG files (ImageNet's layout). Class names in byte order become labels 0, 1, ...; files are
// taken in byte order. PATH/train, if it exists, is the training split, and PATH/test (or PATH/val) the test split, with the training
// split's labels; otherwise every tenth file of a class is for the test.
//
// A folder without images is not a class (an empty one, __pycache__, the @eaDir of a file server): notes() names it. A folder whose images
// all have unsupported formats is an error, because a class would be missing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/pictures.h"

namespace fm {

struct ImageFile {
  std::filesystem::path path;
  std::int32_t label;
};

// Decodes a file when its sample is read, so a collection may be larger than memory.
class ImageFolder : public PictureSource {
 public:
  // FileError: no such folder, no images for the split, a class whose images cannot be read, or a class in the test split alone.
  ImageFolder(const std::filesystem::path& path, const PictureOptions& options, Split split);
  std::int64_t count() const override { return std::int64_t(files_.size()); }
  std::int32_t label(std::int64_t index) const override { return files_[std::size_t(index)].label; }
  std::optional<std::string> stamp(std::int64_t index) const override;  // the file's name and size

  const std::vector<ImageFile>& files() const { return files_; }

 protected:
  Image picture(std::int64_t index, int channels) const override;

 private:
  std::vector<ImageFile> files_;
};

// Names of the training split's classes, from the folders; no image is decoded. FileError as above.
std::vector<std::string> image_folder_classes(const std::filesystem::path& path);

// Reads all images into memory: load_pictures (pictures.h).
Dataset load_image_folder(const std::filesystem::path& path, const PictureOptions& options, Split split);

// "folder:PATH?size=N" (kinds.h). If PATH or PATH/train contains a dataset.json, the labels come from that file (json_folder.h).
std::shared_ptr<const SampleSource> open_image_folder(DataSpec& spec, Split split);
std::vector<std::string> folder_class_names(const DataSpec& spec);

}  // namespace fm
