// Pictures laid out in rows and columns with labels: what a training run saves to show its samples.
#pragma once

#include <cstdint>
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

// Wider pictures are refused by viewers and browsers, and by the PNG reader here.
inline constexpr int max_grid_width = 4096;

// How many columns of pictures so wide, up to `wanted` and at least one, fit beside `left` pixels of labels. A column is as wide as its picture
// or, with labels above, as `label_width`.
int fitting_columns(std::int64_t wanted, int picture_width, int scale, int left = 0, int label_width = 0);

// The text, or its beginning and "..", in at most `width` pixels.
std::string fitted_label(const std::string& text, int width, int text_scale = 1);

// Pictures fill rows from the left; an empty Image leaves its place blank. Sizes may differ: a place has the largest. The result is grey when
// all pictures are grey. ShapeError when there are no pictures or too many labels.
Image make_grid(const std::vector<Image>& images, const GridOptions& options);
Image make_grid(const std::vector<Image>& images, int columns, int pad = 2, int scale = 1);

}  // namespace fm
