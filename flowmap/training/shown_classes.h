// Which classes a picture of samples has columns for: all of few, and of many some at equal distances, so that it stays as narrow as viewers
// take (data/grid.h) and a guided teacher need not draw a thousand columns.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fm {

struct ShownClasses {
  std::vector<std::int64_t> labels;    // of the columns
  std::vector<std::string> names;      // as short as fits; empty where none are known
  std::string title;                   // "16 of 1000 classes"; empty: all
};

// names: of all classes, or none. Pictures are `width` pixels wide before they are enlarged; `left` pixels are taken by labels of rows.
ShownClasses shown_classes(std::int64_t classes, const std::vector<std::string>& names, int width, int scale, int left = 0);

// How much pictures of this size are enlarged.
inline int grid_scale(std::int64_t image_size) { return image_size < 64 ? 2 : 1; }

}  // namespace fm
