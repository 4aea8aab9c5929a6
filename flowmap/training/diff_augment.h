// Random changes of images before a discriminator that gradients pass through (DiffAugment, Zhao et al. 2020; sources: mfrae.md 3.5), in this order:
//
//   translation   x[i, j] <- x[i + dy, j + dx], 0 outside; |dy|, |dx| at most an eighth of the side, rounded
//   brightness    x <- x + b,                      b uniform in [-1/2, 1/2)
//   saturation    x <- s (x - m) + m,              s uniform in [0, 2), m the mean over the channels of each pixel
//   contrast      x <- c (x - m) + m,              c uniform in [1/2, 3/2), m the mean over the image
#pragma once

#include <cstdint>
#include <vector>

#include "autodiff/var.h"
#include "flowmap/draws.h"

namespace fm {

// The changes of one image.
struct Augmentation {
  std::int64_t dy = 0, dx = 0;           // pixels
  double brightness = 0, saturation = 1, contrast = 1;
};

struct Augmentations {
  bool moves = true, colors = true;     // false: the call leaves out translation, or all changes of color
  std::vector<Augmentation> rows;
};

// Which images of a step are augmented. Each kind has random numbers of its own.
enum class Augmented : std::uint32_t { generated, real, fake };

// The changes of a step's images, of this height and width: a pure function of (seed, step, sample number, kind). `probability`: that of a step to move images,
// and, independently, to change colors; the same for all images of a step.
Augmentations draw_augmentations(const Draws& draws, Augmented kind, double probability, std::int64_t height, std::int64_t width);

// Images (B, C, H, W), with one row of changes for each. ShapeError if their numbers differ.
Var augmented(const Var& images, const Augmentations& changes);

}  // namespace fm
