// Pictures laid out in rows and columns with labels: what a training run saves to show its samples.
#pragma once

#include <string>
#include <vector>

#include "data/image.h"

namespace fm {

struct GridOptions {
  int columns = 0;                         // 0: about square
  int pad = 2;                             // pixels around each picture, after scaling
  int scale = 1;                           // each pixel becomes scale x scale
  int text_scale = 1;
  std::string title;
  std::vector<std::string> column_labels;  // above; at most `columns`
  std::vector<std::string> row_labels;     // to the left; at most the number of rows
  std::uint8_t background = 255, ink = 0;
};

// Pictures fill rows from the left; an empty Image leaves its place blank. Sizes may differ: a place has the largest. The result is grey when
// all pictures are grey. ShapeError when there are no pictures or too many labels.
Image make_grid(const std::vector<Image>& images, const GridOptions& options);
Image make_grid(const std::vector<Image>& images, int columns, int pad = 2, int scale = 1);

}  // namespace fm
