// The built-in data set: ten classes of anti-aliased shapes, drawn from (seed, split, index) alone. The label of sample i is i mod 10.
#pragma once

#include <cstdint>

#include "data/dataset.h"

namespace fm {

struct ShapesOptions {
  std::int64_t count = 20000;
  int size = 28;         // side in pixels, >= 8
  int channels = 3;      // 3: colored, 1: grey
  std::uint64_t seed = 1;
};

Dataset draw_shapes(const ShapesOptions& options, Split split = Split::train);

// Sample `index` alone, as in draw_shapes(): channels*size*size bytes in planes.
void draw_shape(const ShapesOptions& options, Split split, std::int64_t index, std::uint8_t* planes);

std::vector<std::string> shape_classes();

}  // namespace fm
