// Bilinear operations:  y = f(a, b)   push dy = f(da, b) + f(a, db)   pull: the two transposes.
#pragma once

#include "autodiff/var.h"
#include "tensor/ops/matmul.h"

namespace fm {

// (..., m, k) x (..., k, n) -> (..., m, n); leading dimensions broadcast.
Var matmul(const Var& a, const Var& b);
// y = x W^T + b:  x (..., in) or (in), weight (out, in), bias (out) or undefined. With x in bf16, weight and bias may be f32 (and so are their gradients),
// and the result may be requested in f32; see tensor/ops/matmul.h.
Var linear(const Var& x, const Var& weight, const Var& bias = {});
Var linear(const Var& x, const Var& weight, const Var& bias, DType result);

// For rules: x m for x (..., k), a vector too.
Tensor rows_times(const Tensor& x, const Tensor& m);
// For rules: adds a b to an input's cotangent, in place if a sum already exists; else as a product in `type`.
void add_product(Cotangents& g, std::size_t input, const Tensor& a, const Tensor& b, DType type);

}  // namespace fm
