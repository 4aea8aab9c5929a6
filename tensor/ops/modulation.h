// Modulations (scale, shift, gate) of an activation x (B, ..., C): per sample (B, C) or (B, 1, C), or per token with x's own shape. They may be
// slices of a wider matrix, say of (B, 6 C): only their last dimension must be contiguous, else they are copied.
#pragma once

#include "tensor/kernels/rows/args.h"
#include "tensor/tensor.h"

namespace fm {

// Modulations of one x brought to a common form for the kernels: (groups, C) rows that share a leading dimension.
struct ModulationRows {
  Tensor first, second;                    // either may be undefined
  std::int64_t groups = 0;
  rows::Modulation layout;
};

// ShapeError unless each fits x. When they differ in kind (one per sample, one per token) both become per token. None where x has no rows.
ModulationRows modulation_rows(const Tensor& first, const Tensor& second, const Shape& x, const char* op);

// The gradient of a modulation from that of its rows (groups, C): summed back to the operand's shape.
Tensor modulation_gradient(const Tensor& rows, const Shape& operand);

}  // namespace fm
