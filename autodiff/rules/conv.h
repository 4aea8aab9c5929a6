// Convolution, a bilinear operation:  y = x * w + b   push dy = dx * w + x * dw + db   pull: the two transposed convolutions.
#pragma once

#include "autodiff/var.h"
#include "tensor/ops/conv.h"

namespace fm {

// x (B, C, H, W), weight (O, C, kh, kw), bias (O) or undefined -> (B, O, (H + 2 pad - kh)/stride + 1, ...)
Var conv2d(const Var& x, const Var& weight, const Var& bias, int stride = 1, int padding = 0);

}  // namespace fm
