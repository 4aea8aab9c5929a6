// Images in rows and columns with labels: the sample grids that a training saves.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/image.h"

namespace fm {

struct GridOptions {
  int columns = 0;                         // number of columns; 0: about square
  int pad = 2;                             // pixels around each image, after scaling
  int scale = 1;                           // each pixel becomes scale x scale
  int text_scale = 1;
  std::string title;
  std::vector<std::string> column_labels;  // above; at most `columns`
  std::vector<std::string> row_labels;     // to the left; at most the number of rows
  std::uint8_t background = 255, ink = 0;
};

// Viewers, browsers and this project's PNG reader refuse wider images.
inline constexpr int max_grid_width = 4096;

// The number of image columns, up to `wanted` and at least one, that fit beside `left` pixels of labels. A column is as wide as its image
// or, with labels above, as `label_width`.
int fitting_columns(std::int64_t wanted, int picture_width, int scale, int left = 0, int label_width = 0);

// Returns the text if it fits into `width` pixels, else its beginning and "..".
std::string fitted_label(const std::string& text, int width, int text_scale = 1);

// Images fill rows from the left; an empty Image leaves its position blank. Sizes may differ: every position has room for
// the largest image. The result is grey if all images are grey. ShapeError if there are no images or too many labels.
Image make_grid(const std::vector<Image>& images, const GridOptions& options);
Image make_grid(const std::vector<Image>& images, int columns, int pad = 2, int scale = 1);

}  // namespace fm
