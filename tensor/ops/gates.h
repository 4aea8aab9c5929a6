// Gates of transformer blocks (equations: tensor/kernels/rows/gates.h). bf16 is computed on in f32.
#pragma once

#include "tensor/tensor.h"

namespace fm {

Tensor swiglu(const Tensor& x);                                    // (..., 2 H) -> (..., H): silu(first half) second half
Tensor swiglu_push(const Tensor& x, const Tensor& dx);
Tensor swiglu_pull(const Tensor& x, const Tensor& gy);

// x + gate h in x's type; gate as in tensor/ops/modulation.h. h may be bf16 where x, the residual stream, is f32: the gate is then read in bf16.
Tensor gated_residual(const Tensor& x, const Tensor& h, const Tensor& gate);

struct GatedBranch {
  Tensor h, gate;
};
struct GatedTangents {
  Tensor x, h, gate;                                                // undefined: zero
};
// `stream` is x's type; no derivative needs x itself.
Tensor gated_push(const GatedBranch& in, const GatedTangents& d, DType stream);
// Cotangents of h and gate in their shapes and types (that of x is gy).
GatedBranch gated_pull(const GatedBranch& in, DType stream, const Tensor& gy, bool want_h, bool want_gate);

}  // namespace fm
