// PSNR and SSIM of pairs of images, a value for each image.
//
//   PSNR = 10 log10(1 / max(mse, 1e-10)) dB, mse = mean of (x - y)^2 over channels and positions, range 1; at most 100 dB
//   SSIM (Wang et al. 2004) = mean over channels and positions of (2 mx my + c1) (2 sxy + c2) / ((mx^2 + my^2 + c1) (sx + sy + c2)),
//   c1 = 0.01^2, c2 = 0.03^2
//
// m, s are moments under a Gaussian window of 11 x 11 with deviation 1.5 in each channel: s = E[x^2] - E[x]^2 (at least 0), sxy = E[xy] -
// E[x] E[y]. Images are continued by reflection over 5 positions. This is SSIM of torchmetrics; other implementations use another window
// and other numbers.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace fm {

// full: mean over all positions. cropped: without 5 positions at each border, as torchmetrics before September 2024.
enum class SsimBorder { full, cropped };

// x, y (n, C, H, W) of one shape, each u8 (divided by 255) or f32 (range [0, 1], not clamped), on any device; all computations in f64, in
// parallel over channels of images. Returns n values; published numbers are their mean. The result does not depend on the number of
// threads. ShapeError if the shapes differ, the rank is not 4 or a dimension is 0; for SSIM also if H or W is below 6, or below 11 with a
// cropped border. DTypeError for other types. Error names the first image that is not finite.
std::vector<double> psnr(const Tensor& x, const Tensor& y);
std::vector<double> ssim(const Tensor& x, const Tensor& y, SsimBorder border = SsimBorder::full);

}  // namespace fm
