// Gates of transformer blocks (equations: tensor/kernels/rows/gates.h).
#pragma once

#include "autodiff/var.h"
#include "tensor/ops/gates.h"

namespace fm {

Var swiglu(const Var& x);                                                  // (..., 2 H) -> (..., H): silu(first half) * second half
// x + gate h in x's type: x and h (B, ..., C); gate (B,C), (B,1,C) or x's shape, possibly a slice of a wider tensor. h and gate may be bf16
// beside an f32 x.
Var gated_residual(const Var& x, const Var& h, const Var& gate);

Var swiglu_reference(const Var& x);
Var gated_residual_reference(const Var& x, const Var& h, const Var& gate);

}  // namespace fm
