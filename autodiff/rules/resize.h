// Resampling is linear:  y = W x,  push dy = W dx,  pull gx = W^T gy.
#pragma once

#include "autodiff/var.h"
#include "tensor/ops/resize.h"

namespace fm {

Var resample(const Var& x, int dim, const Resampling& r);
Var resize(const Var& x, std::int64_t height, std::int64_t width, Interpolation kind);   // the last two dimensions

// Repeats each pixel of x (B, C, H, W) in a block of factor x factor pixels: nearest-neighbor upsampling to (B, C, factor H, factor W). The pull adds
// up each block. ShapeError for another rank or a factor below 1.
Var upsample_nearest(const Var& x, std::int64_t factor);

}  // namespace fm
