// Chooses the classes that have columns in a grid of samples: all if they are few, else some at equal distances. The grid is then not wider than viewers
// display (data/grid.h), and a guided teacher need not generate a thousand columns.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fm {

struct ShownClasses {
  std::vector<std::int64_t> labels;    // the labels of the columns
  std::vector<std::string> names;      // names of the columns, shortened to fit; empty if unknown
  std::string title;                   // "16 of 1000 classes"; empty if all are shown
};

// names: the names of all classes, or empty. Images are `width` pixels wide before they are enlarged; row labels take `left` pixels.
ShownClasses shown_classes(std::int64_t classes, const std::vector<std::string>& names, int width, int scale, int left = 0);

// The factor by which images of this size are enlarged.
inline int grid_scale(std::int64_t image_size) { return image_size < 64 ? 2 : 1; }

}  // namespace fm
