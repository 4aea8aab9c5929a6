// Shrinking and enlarging 8-bit pictures exactly as Pillow does, and the centre crop that ImageNet pipelines share. Published weights expect
// pictures prepared so.
#pragma once

#include "data/image.h"

namespace fm {

enum class Filter { Box, Bilinear, Bicubic };  // bicubic with a = -1/2

// Antialiased (the filter widens when shrinking), horizontal then vertical, 8-bit in between.
Image resize(const Image& image, int width, int height, Filter filter);

// The crop of the ADM code (Dhariwal, Nichol 2021): halve with Box while the shorter side is at least 2*size, bring it to `size` with Bicubic,
// cut the middle.
Image center_crop(const Image& image, int size);

}  // namespace fm
