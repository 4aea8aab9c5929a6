// Modulations (scale, shift, gate) of an activation x (B, ..., C): per sample (B, C) or (B, 1, C), or per token with x's own shape. They may be
// slices of a wider matrix, say of (B, 6 C). A modulation whose last dimension is not contiguous is copied.
#pragma once

#include "tensor/kernels/rows/args.h"
#include "tensor/tensor.h"

namespace fm {

// Up to two modulations of one x, in the form that the kernels read: rows (groups, C) with a common leading dimension.
struct ModulationRows {
  Tensor first, second;                    // either may be undefined
  std::int64_t groups = 0;
  rows::Modulation layout;
};

// ShapeError unless both fit x. If one is per sample and the other per token, both become per token. If x has no elements, both are undefined.
ModulationRows modulation_rows(const Tensor& first, const Tensor& second, const Shape& x, const char* op);

// Returns the gradient of a modulation of shape `operand`: sums the gradient of its rows (groups, C) to that shape.
Tensor modulation_gradient(const Tensor& rows, const Shape& operand);

}  // namespace fm
