// Family `pool`: the largest element or the mean of square windows of images x (B, C, H, W) -> (B, C, (H + 2 padding - kernel)/stride + 1, ...).
//
// A window that reaches over the edge has no elements there: the padding is -infinity for the maximum, 0 for the mean. As in PyTorch, the padding is at
// most half of the kernel, rows and columns that fill no window are left out, and a NaN of a window is its maximum.
// Types f32, f64 and bf16 (computed in f32, rounded once); the result has the type of x. ShapeError if the window does not fit, DTypeError for other types.
#pragma once

#include "tensor/tensor.h"

namespace fm {

struct PoolWindow {
  int kernel = 2, stride = 2, padding = 0;
};

// The divisor of a mean: the number of positions inside the image (PyTorch's count_include_pad = False), or kernel^2.
enum class PoolCount { inside, all };

// The maxima, and their places: index (i32, shape of value) holds h W + w of the first largest element in row-major order. An image has at most 2^31 - 1
// pixels.
struct MaxPooled {
  Tensor value, index;
};

MaxPooled max_pool2d_indexed(const Tensor& x, PoolWindow window);
Tensor max_pool2d(const Tensor& x, PoolWindow window);
// The tangent of the maxima: y = the elements of x (B, C, H, W) at index.
Tensor max_pool2d_push(const Tensor& x, const Tensor& index, PoolWindow window);
// Its transpose: adds each element of gy to the place in a result of x_shape that the index names.
Tensor max_pool2d_pull(const Tensor& gy, const Tensor& index, const Shape& x_shape, PoolWindow window);

Tensor avg_pool2d(const Tensor& x, PoolWindow window, PoolCount count);
// Its transpose.
Tensor avg_pool2d_pull(const Tensor& gy, const Shape& x_shape, PoolWindow window, PoolCount count);

}  // namespace fm
