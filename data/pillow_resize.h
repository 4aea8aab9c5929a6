// Resizes 8-bit images exactly as Pillow does, and makes the common crops of ImageNet pipelines. Published weights expect
// images prepared this way. The order of the two passes affects the last bit. Here the horizontal pass is first, as in Pillow 10, which prepared the
// images of published weights (Pillow 13 begins with the vertical pass if an image is about twice as high as wide).
#pragma once

#include "data/image.h"
#include "tensor/random/philox.h"

namespace fm {

enum class PillowFilter { box, bilinear, bicubic };  // bicubic with a = -1/2

struct PixelBox {
  int left = 0, top = 0, width = 0, height = 0;
};

// ShapeError if the box is not inside the image.
Image cropped(const Image& image, const PixelBox& box);

// Antialiased (the filter widens when shrinking), horizontal then vertical, 8-bit in between.
Image pillow_resize(const Image& image, int width, int height, PillowFilter filter);
// A part of the same result, without computing the rest.
Image pillow_resize(const Image& image, int width, int height, PillowFilter filter, const PixelBox& part);

// The crop of the ADM code (Dhariwal, Nichol 2021): halves with Box while the shorter side is at least 2*size, resizes this side to
// `size` with Bicubic, and cuts out the middle.
Image center_crop(const Image& image, int size);

// The crop for RAE's decoder training (torchvision's Resize and RandomCrop): the shorter side is resized to `shorter` with Bicubic, the longer one
// in proportion, rounded down; then the words of `random` choose the position of a square of `size`.
Image random_crop(const Image& image, int shorter, int size, const PhiloxBlock& random);

}  // namespace fm
