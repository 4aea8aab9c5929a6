// Convolution, a bilinear operation:  y = x * w + b   push dy = dx * w + x * dw + db   pull: the two transposed convolutions.
#pragma once

#include "autodiff/var.h"
#include "tensor/ops/conv.h"

namespace fm {

// x (B, C, H, W), weight (O, C, kh, kw), bias (O) or undefined -> (B, O, (H + 2 pad_h - kh)/stride + 1, (W + 2 pad_w - kw)/stride + 1)
// With x in bf16, weight and bias may be f32 (then their gradients are f32 too), and the result may be requested in f32 (tensor/ops/conv.h).
Var conv2d(const Var& x, const Var& weight, const Var& bias, ConvStep step);
Var conv2d(const Var& x, const Var& weight, const Var& bias, ConvStep step, DType result);
// The same with one padding for all sides.
inline Var conv2d(const Var& x, const Var& weight, const Var& bias, int stride = 1, int padding = 0) {
  return conv2d(x, weight, bias, ConvStep{stride, padding});
}
inline Var conv2d(const Var& x, const Var& weight, const Var& bias, int stride, int padding, DType result) {
  return conv2d(x, weight, bias, ConvStep{stride, padding}, result);
}

}  // namespace fm
