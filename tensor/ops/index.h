// Families `gather` and `scatter_add` along the first dimension, and one-hot rows.
#pragma once

#include "tensor/tensor.h"

namespace fm {

// y[i, ...] = x[index[i], ...]; index i32 or i64 of shape (n). ShapeError names an index out of range.
Tensor gather(const Tensor& x, const Tensor& index);
// y = zeros(shape); y[index[i], ...] += x[i, ...] in order of i: the transpose of gather.
Tensor scatter_add(const Tensor& x, const Tensor& index, const Shape& shape);
Tensor one_hot(const Tensor& index, std::int64_t classes, DType dtype = DType::f32);   // (n) -> (n, classes)

}  // namespace fm
