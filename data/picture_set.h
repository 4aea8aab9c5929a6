// Images without labels, for metrics between two sets of images: a folder of files, or an array of a .npz or .npy file. Images are read on request, so a
// set may be larger than memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/image.h"

namespace fm {

class PictureSet {
 public:
  virtual ~PictureSet() = default;
  virtual std::string name() const = 0;                                         // the folder or file
  virtual std::int64_t count() const = 0;                                       // at least one
  virtual std::string member(std::int64_t index) const = 0;                     // "a/0001.png", "row 17": for messages, and to pair the images of two sets
  virtual bool has_names() const = 0;                                           // whether member() names an image, not only its position
  virtual std::string form() const = 0;                                         // what decoded() needs besides bytes(): "64x48x3" for arrays; empty for files
  virtual std::string bytes(std::int64_t index) const = 0;                      // the stored form. Called from any thread
  virtual Image decoded(const std::string& bytes, std::int64_t index) const = 0;  // of 1 or 3 channels. Called from any thread
  virtual const std::vector<std::string>& notes() const = 0;                    // remarks on reading for the user: one line each

  Image image(std::int64_t index) const { return decoded(bytes(index), index); }
  std::int64_t count_up_to(std::int64_t limit) const { return limit > 0 && limit < count() ? limit : count(); }   // 0: all
};

// Opens a folder of .png, .jpg, .jpeg and .webp files, or u8 images (N, H, W, C) or (N, H, W) with C = 1 or 3 in a .npz or .npy file. The images of a folder are
// taken in the byte order of their names; those of its subfolders only if the folder itself has none. The array of a .npz is arr_0, or its only array.
//
// ConfigError: `path` is empty. FileError: no such file, no images, another type or shape. bytes() and decoded() throw a FileError that names the image: if it
// cannot be read or is damaged, and for 16 bits a channel, because programs reduce these to 8 bits in different ways. Alpha is dropped, as by
// Pillow's convert("RGB"), with which the published programs read.
std::shared_ptr<const PictureSet> open_picture_set(const std::string& path);

}  // namespace fm
