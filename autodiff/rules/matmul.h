// Bilinear operations:  y = f(a, b)   push dy = f(da, b) + f(a, db)   pull: the two transposes.
#pragma once

#include "autodiff/var.h"
#include "tensor/ops/matmul.h"

namespace fm {

// (..., m, k) x (..., k, n) -> (..., m, n); leading dimensions broadcast.
Var matmul(const Var& a, const Var& b);
// y = x W^T + b:  x (..., in), weight (out, in), bias (out) or undefined.
Var linear(const Var& x, const Var& weight, const Var& bias = {});

}  // namespace fm
