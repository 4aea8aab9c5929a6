// Resampling is linear:  y = W x,  push dy = W dx,  pull gx = W^T gy.
#pragma once

#include "autodiff/var.h"
#include "tensor/ops/resize.h"

namespace fm {

Var resample(const Var& x, int dim, const Resampling& r);
Var resize(const Var& x, std::int64_t height, std::int64_t width, Interpolation kind);   // the last two dimensions

}  // namespace fm
