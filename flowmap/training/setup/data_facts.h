// Facts about a data set after inspection: how many samples of which classes, and for images their sizes and colors. A config for
// the data set (proposal.h) follows from these facts.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tensor/shape.h"

namespace fm {

struct DataFacts {
  std::string data;                        // the value of --data
  bool pictures = true;                    // false: values, f32
  bool open_size = false;                  // images in files, which are cut to ?size=N, but `data` gives no N
  bool open_channels = false;              // images in files, for which ?channels=N sets the channels, but `data` gives no N
  bool has_limit = false;                  // ?limit=N, the first N samples of each class, can be appended to `data`
  std::int64_t side = 0;                   // side of images: the given one, or the largest that the shorter sides of 95 % of the inspected images reach
  std::int64_t channels = 3;               // 1 if every inspected image is grey
  std::int64_t least_width = 0, most_width = 0, least_height = 0, most_height = 0;   // sizes of the inspected images
  Shape shape;                             // shape of a sample, if samples are values
  std::int64_t train = 0, test = 0;
  std::vector<std::string> class_names;
  std::vector<std::int64_t> class_counts;  // training samples of each class
  std::vector<std::string> notes;          // remarks of the data source

  std::int64_t classes() const { return static_cast<std::int64_t>(class_names.size()); }
};

// Opens the training split and the test split, and decodes at most 64 images, evenly spread. ConfigError for data that no chain can learn from: one
// class of images, images that are not square and not cut, sides below 8, points of the plane. FileError for data that cannot be read, and for fewer than
// 4 test samples, which an evaluation needs. Both errors name the remedy.
DataFacts look_at(const std::string& data);

// Returns "folder:a?size=64,channels=1" for "folder:a" and {{"size", 64}, {"channels", 1}}.
std::string with_keys(const std::string& data, const std::vector<std::pair<std::string, std::int64_t>>& keys);

// Describes the facts for people: "1,200 images of 40x32 to 300x200 pixels in color, 4 classes (cat 300, ...)".
std::string facts_text(const DataFacts& facts);

}  // namespace fm
