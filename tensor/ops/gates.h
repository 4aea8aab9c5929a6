// Gates of transformer blocks (equations: tensor/kernels/rows/gates.h). bf16 is computed on in f32.
#pragma once

#include "tensor/tensor.h"

namespace fm {

Tensor swiglu(const Tensor& x);                                    // (..., 2 H) -> (..., H): silu(first half) second half
Tensor swiglu_push(const Tensor& x, const Tensor& dx);
Tensor swiglu_pull(const Tensor& x, const Tensor& gy);

// x + gate h; gate as in tensor/ops/modulation.h.
Tensor gated_residual(const Tensor& x, const Tensor& h, const Tensor& gate);

struct GatedInputs {
  Tensor x, h, gate;
};
Tensor gated_push(const GatedInputs& in, const GatedInputs& d);     // undefined tangents are zero
// Cotangents of h and gate in their shapes and types (that of x is gy).
GatedInputs gated_pull(const GatedInputs& in, const Tensor& gy, bool want_h, bool want_gate);

}  // namespace fm
