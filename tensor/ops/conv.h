// Family `conv`: two-dimensional convolution and its two transposes (tensor/kernels/conv.h).
//
// Element types: all operands f32, or all f64. x may also be bf16: then weight and bias are f32 or bf16, everything is computed and summed in f32, and
// the result is bf16, rounded once, or f32 if requested. f32 weights are not rounded. DTypeError for other types.
#pragma once

#include "tensor/tensor.h"

namespace fm {

// The stride of both dimensions, and the rows and columns of zeros on each side: {2, 1} has padding 1 on all sides, {1, 0, 3} only left and right.
struct ConvStep {
  int stride = 1, pad_h = 0, pad_w = pad_h;
};

// x (B, C, H, W), weight (O, C, kh, kw), bias (O) or undefined -> (B, O, (H + 2 pad_h - kh)/stride + 1, (W + 2 pad_w - kw)/stride + 1)
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, ConvStep step);
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, ConvStep step, DType result);
// gx in the type of gy, or bf16 for gy in f32.
Tensor conv2d_grad_input(const Tensor& gy, const Tensor& weight, const Shape& x_shape, ConvStep step);
Tensor conv2d_grad_input(const Tensor& gy, const Tensor& weight, const Shape& x_shape, ConvStep step, DType result);
// gw in f32 for x in bf16, else in x's type.
Tensor conv2d_grad_weight(const Tensor& x, const Tensor& gy, const Shape& weight_shape, ConvStep step);

}  // namespace fm
