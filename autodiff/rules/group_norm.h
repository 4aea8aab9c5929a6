// Group norm, alone or followed by a SiLU (equations, shapes and errors: tensor/ops/group_norm.h). The tape keeps x only; the backward pass computes the
// normalized values again.
#pragma once

#include "autodiff/var.h"
#include "tensor/ops/group_norm.h"

namespace fm {

// x (B, C, ...); weight and bias (C), or Var{}. The result has x's type, or the type `result`: for an f32 x it may be bf16.
Var group_norm(const Var& x, const Var& weight, const Var& bias, std::int64_t groups, double eps);
Var group_norm(const Var& x, const Var& weight, const Var& bias, const GroupNormForm& form);

// The same composed of primitive operations.
Var group_norm_reference(const Var& x, const Var& weight, const Var& bias, const GroupNormForm& form);

}  // namespace fm
