// Group norm (Wu & He 2018, arXiv:1803.08494) of x (B, C, ...), such as images (B, C, H, W), with its affine part and a SiLU:
//
//   y = act(h w[c] + b[c]),   h = (x - mean) rstd,   with the statistics of each run of C/groups channels of a sample
//
// weight and bias (C) may be undefined. Computed in f64 for f64, else in f32. The result has x's type, or bf16 for an f32 x.
#pragma once

#include "tensor/ops/norm.h"

namespace fm {

struct GroupNormForm {
  std::int64_t groups;
  double eps;
  bool silu;                             // act is SiLU, else the identity
  DType result;                          // type of y and of its tangent
};

struct GroupNormInputs {
  Tensor x, weight, bias;
};

// Returns y and fills `saved` with the statistics of (B, groups). ShapeError if `groups` does not divide C, or if x has no positions. On the CPU one
// kernel reads x and writes y. On a GPU one warp computes a row of layer norm, then products and sums read and write y again: few rows (B * groups)
// leave most of the GPU idle.
Tensor group_norm_value(const GroupNormForm& form, const GroupNormInputs& in, NormSaved& saved);
// Returns the tangent of y along `d`, whose undefined members stand for zero. All arguments hold the same samples.
Tensor group_norm_push(const GroupNormForm& form, const GroupNormInputs& in, const NormSaved& saved, const GroupNormInputs& d);
// Returns the cotangents of the inputs named in `wanted`, in their shapes and types; the others are undefined.
GroupNormInputs group_norm_pull(const GroupNormForm& form, const GroupNormInputs& in, const NormSaved& saved, const Tensor& gy, const NormWanted& wanted);

}  // namespace fm
