// softmax, log-softmax and cross-entropy over the last dimension (equations: tensor/kernels/rows/softmax.h).
#pragma once

#include "autodiff/var.h"
#include "tensor/ops/softmax.h"

namespace fm {

Var softmax(const Var& x);
Var log_softmax(const Var& x);
// Loss of each row of logits (..., K) -> (...). targets: class indices (i32, i64) of shape (...), or probabilities of the logits' shape.
// No derivative goes to the targets.
Var cross_entropy(const Var& logits, const Tensor& targets);

Var softmax_reference(const Var& x);
Var log_softmax_reference(const Var& x);
Var cross_entropy_reference(const Var& logits, const Tensor& targets);

}  // namespace fm
