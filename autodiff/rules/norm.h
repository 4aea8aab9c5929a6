// Norms over the last dimension, with affine and adaLN modulation fused (equations: tensor/ops/norm.h, tensor/kernels/rows/norm.h).
//
// x (..., C); weight, bias (C), or Var{} for the affine-free form. shift and scale: per sample (B,C) or (B,1,C), or per token with x's shape;
// they may be slices of a wider tensor, as chunk() gives. Statistics in f32 (f64 for f64). The result has x's type, or the type `result`:
// for an f32 x it may be bf16.
#pragma once

#include "autodiff/var.h"
#include "tensor/ops/norm.h"

namespace fm {

Var layer_norm(const Var& x, const Var& weight, const Var& bias, double eps);
Var layer_norm(const Var& x, const Var& weight, const Var& bias, double eps, DType result);
Var rms_norm(const Var& x, const Var& weight, double eps);
// y = norm(x) (1 + scale) + shift, the norm with its affine part
Var layer_norm_modulate(const Var& x, const Var& weight, const Var& bias, const Var& shift, const Var& scale, double eps);
Var layer_norm_modulate(const Var& x, const Var& weight, const Var& bias, const Var& shift, const Var& scale, double eps, DType result);
Var rms_norm_modulate(const Var& x, const Var& weight, const Var& shift, const Var& scale, double eps);
Var rms_norm_modulate(const Var& x, const Var& weight, const Var& shift, const Var& scale, double eps, DType result);

// The same norms composed of primitive operations. Absent operands are Var{}.
Var norm_reference(const NormForm& form, const Var& x, const Var& weight, const Var& bias, const Var& shift, const Var& scale);

}  // namespace fm
