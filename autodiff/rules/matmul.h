// Bilinear operations:  y = f(a, b)   push dy = f(da, b) + f(a, db)   pull: the two transposes.
#pragma once

#include "autodiff/var.h"
#include "tensor/ops/matmul.h"

namespace fm {

// (..., m, k) x (..., k, n) -> (..., m, n); leading dimensions broadcast.
Var matmul(const Var& a, const Var& b);
// y = x W^T + b:  x (..., in) or (in), weight (out, in), bias (out) or undefined. With x in bf16, weight and bias may be f32 (then their gradients are f32 too),
// and the result may be requested in f32 (tensor/ops/matmul.h).
Var linear(const Var& x, const Var& weight, const Var& bias = {});
Var linear(const Var& x, const Var& weight, const Var& bias, DType result);

// For rules: the product x m, for x of shape (..., k) or (k).
Tensor rows_times(const Tensor& x, const Tensor& m);
// For rules: adds the product a b to an input's cotangent: in place if a sum exists that is not shared, else as a new tensor of `type`.
void add_product(Cotangents& g, std::size_t input, const Tensor& a, const Tensor& b, DType type);

}  // namespace fm
