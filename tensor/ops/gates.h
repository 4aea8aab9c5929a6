// Gates of transformer blocks (equations: tensor/kernels/rows/gates.h). bf16 is computed in f32.
#pragma once

#include "tensor/tensor.h"

namespace fm {

Tensor swiglu(const Tensor& x);                                    // (..., 2 H) -> (..., H): silu(first half) * second half
Tensor swiglu_push(const Tensor& x, const Tensor& dx);
Tensor swiglu_pull(const Tensor& x, const Tensor& gy);

// Returns x + gate h in x's type. Shapes of gate: tensor/ops/modulation.h. If x, the residual stream, is f32, then h may be bf16 and the gate is
// converted to bf16.
Tensor gated_residual(const Tensor& x, const Tensor& h, const Tensor& gate);

struct GatedBranch {
  Tensor h, gate;
};
struct GatedTangents {
  Tensor x, h, gate;                                                // undefined: zero
};
// `stream` is x's type; no derivative needs x itself.
Tensor gated_push(const GatedBranch& in, const GatedTangents& d, DType stream);
// Returns the cotangents of h and gate, in their shapes and types. The cotangent of x is gy itself.
GatedBranch gated_pull(const GatedBranch& in, DType stream, const Tensor& gy, bool want_h, bool want_gate);

}  // namespace fm
