// Random crops of images: the augmentation of self-supervised training (multi-crop of Caron et al., "Unsupervised learning of visual
// features by contrasting cluster assignments", 2020). A crop is a box of random area, aspect and position, resized to a square, possibly mirrored,
// with small changes of brightness and contrast. A sample's crop depends only on (key, draw, sample number).
#pragma once

#include "tensor/random/fill.h"
#include "tensor/tensor.h"

namespace fm {

struct CropRecipe {
  std::int64_t size = 28;                        // side of the result, pixels
  double scale_low = 0.4, scale_high = 1.0;      // area of the box as a share of the image
  double aspect = 4.0 / 3.0;                     // width/height between 1/aspect and aspect, log-uniform
  double flip = 0.5;                             // probability of mirroring left and right
  double jitter = 0.4;                           // brightness and contrast factors are uniform in [1 - jitter, 1 + jitter]
};

// images (B, C, H, W) f32 in [0, 1] -> (B, C, size, size) in [0, 1]; bilinear, edges clamped
Tensor random_crops(const Tensor& images, const Samples& samples, RandomKey key, std::uint32_t draw, const CropRecipe& recipe);

// Shifts each image by up to `reach` whole pixels in each direction, fills the gap with zeros, and mirrors the image with probability `flip`.
Tensor random_shifts(const Tensor& images, const Samples& samples, RandomKey key, std::uint32_t draw, std::int64_t reach, double flip);

}  // namespace fm
