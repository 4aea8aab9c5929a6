// Layer norm and RMS norm over the last dimension, with affine and modulation fused:
//   y = (h w + b) (1 + scale) + shift,  h = (x - mean) rstd,  rstd = 1/sqrt(var + eps)     RMS norm: mean = 0, var = mean(x^2)
// x (..., C); weight and bias (C); scale and shift as in tensor/ops/modulation.h. weight, bias, scale, shift may be undefined. bf16 operands are
// computed in f32. The result has x's type, or bf16 for an f32 x: a residual stream in f32 that enters a product in bf16.
#pragma once

#include "tensor/tensor.h"

namespace fm {

enum class NormKind { layer, rms };

struct NormForm {
  NormKind kind;
  double eps;
  DType result;                          // type of y and of its tangent; scale, shift and their tangents are converted to it
};

struct NormInputs {
  Tensor x, weight, bias, scale, shift;
};

struct NormSaved {                       // one number for each row of x, in the type of the computation
  Tensor mean, rstd;
};

struct NormWanted {
  bool x = false, weight = false, bias = false, scale = false, shift = false;
};

// Returns y and fills `saved`. ConfigError if eps is negative or not finite.
Tensor norm_value(const NormForm& form, const NormInputs& in, NormSaved& saved);
// Returns the tangent of y along `d`, whose undefined members stand for zero. All arguments hold the same samples.
Tensor norm_push(const NormForm& form, const NormInputs& in, const NormSaved& saved, const NormInputs& d);
// Returns the cotangents of the inputs named in `wanted`, in their shapes and types; the others are undefined.
NormInputs norm_pull(const NormForm& form, const NormInputs& in, const NormSaved& saved, const Tensor& gy, const NormWanted& wanted);

// Return the inputs, or the statistics, of the first `samples` samples (dimension 0 of x).
NormInputs head_samples(const NormInputs& in, std::int64_t samples);
NormSaved head_samples(const NormSaved& saved, const Shape& x, std::int64_t samples);

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);
Tensor layer_norm_modulate(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& shift, const Tensor& scale, double eps);
Tensor rms_norm_modulate(const Tensor& x, const Tensor& weight, const Tensor& shift, const Tensor& scale, double eps);

}  // namespace fm
