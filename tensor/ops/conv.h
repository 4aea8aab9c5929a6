// Family `conv`: two-dimensional convolution and its two transposes (tensor/kernels/conv.h). f32 and f64.
#pragma once

#include "tensor/tensor.h"

namespace fm {

struct ConvStep {
  int stride = 1, padding = 0;
};

// x (B, C, H, W), weight (O, C, kh, kw), bias (O) or undefined -> (B, O, (H + 2 padding - kh)/stride + 1, ...)
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, ConvStep step);
Tensor conv2d_grad_input(const Tensor& gy, const Tensor& weight, const Shape& x_shape, ConvStep step);
Tensor conv2d_grad_weight(const Tensor& x, const Tensor& gy, const Shape& weight_shape, ConvStep step);

}  // namespace fm
