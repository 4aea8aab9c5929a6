// Shrinking and enlarging 8-bit pictures exactly as Pillow does, and the centre crop that ImageNet pipelines share. Published weights expect
// pictures prepared so. The order of the two passes matters to the last bit: horizontal first, as in Pillow 10, with which they were made
// (Pillow 13 begins with the vertical one when a picture is about twice as high as wide).
#pragma once

#include "data/image.h"

namespace fm {

enum class PillowFilter { box, bilinear, bicubic };  // bicubic with a = -1/2

// Antialiased (the filter widens when shrinking), horizontal then vertical, 8-bit in between.
Image pillow_resize(const Image& image, int width, int height, PillowFilter filter);

// The crop of the ADM code (Dhariwal, Nichol 2021): halve with Box while the shorter side is at least 2*size, bring it to `size` with Bicubic,
// cut the middle.
Image center_crop(const Image& image, int size);

}  // namespace fm
