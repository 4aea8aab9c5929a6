// Facts about a data set after inspection: how many samples of which classes, and for images their sizes and colors. A config for it
// (proposal.h) follows from these facts.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tensor/shape.h"

namespace fm {

struct DataFacts {
  std::string data;                        // as --data names it
  bool pictures = true;                    // false: values, f32
  bool open_size = false;                  // images in files, cut to ?size=N, and `data` gives no N
  bool open_channels = false;              // the same of ?channels=N
  bool has_limit = false;                  // takes ?limit=N, the first samples of each class
  std::int64_t side = 0;                   // of images: given, or the shorter side that all but the smallest twentieth have
  std::int64_t channels = 3;               // 1 if every inspected image is grey
  std::int64_t least_width = 0, most_width = 0, least_height = 0, most_height = 0;   // of the inspected images
  Shape shape;                             // of values
  std::int64_t train = 0, test = 0;
  std::vector<std::string> class_names;
  std::vector<std::int64_t> class_counts;  // training samples
  std::vector<std::string> notes;          // of the source

  std::int64_t classes() const { return static_cast<std::int64_t>(class_names.size()); }
};

// Opens the training split and the test split, and decodes at most 64 images, evenly spread. ConfigError for data that no chain can learn from (one
// class of images, images that are not square and not cut, sides below 8, points of the plane), FileError for data that cannot be read or are too
// few: an evaluation needs 4 test samples. Both name the remedy.
DataFacts look_at(const std::string& data);

// "folder:a?size=64,channels=1" of "folder:a" and {{"size", 64}, {"channels", 1}}.
std::string with_keys(const std::string& data, const std::vector<std::pair<std::string, std::int64_t>>& keys);

// "1,200 images of 40x32 to 300x200 pixels in color, 4 classes (cat 300, ...)", for people.
std::string facts_text(const DataFacts& facts);

}  // namespace fm
