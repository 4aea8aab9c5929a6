// Pixels in the orthonormal Haar basis as a latent space: levels in [0, 1] become x = 2 level - 1, and each 2x2 block of a channel becomes four numbers,
//
//   | a b |     average (a+b+c+d)/2,  horizontal (a-b+c-d)/2,  vertical (a+b-c-d)/2,  diagonal (a-b-c+d)/2
//   | c d |
//
// (C, h, w) -> (4 C, h/2, w/2), averages of all channels first. The matrix is orthogonal and its own inverse, so noise stays N(0, I), distances stay equal,
// and the flow is that of pixels in other coordinates. The basis is not learned and loses nothing, and a network sees a quarter of the positions.
#pragma once

#include "flowmap/training/latent_space.h"

namespace fm {

// x (n, C, h, w) -> (n, 4 C, h/2, w/2), and back. haar: ShapeError for odd sides. inverse_haar: ShapeError for channels that are not a multiple of 4.
Tensor haar(const Tensor& x);
Tensor inverse_haar(const Tensor& bands);

// For images (C, h, w) with even sides; ShapeError otherwise. Decoded levels are clamped to [0, 1].
LatentCoder haar_coder(const Shape& picture);

}  // namespace fm
