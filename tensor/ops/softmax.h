// softmax, log-softmax and cross-entropy over the last dimension (equations: tensor/kernels/rows/softmax.h). push and pull of softmax
// and log_softmax take y, the output. bf16 is computed in f32. Inputs without rows are allowed; rows without elements are a ShapeError.
#pragma once

#include "tensor/tensor.h"

namespace fm {

Tensor softmax(const Tensor& x);
Tensor softmax_push(const Tensor& y, const Tensor& dx);            // also the pull, since the Jacobian is symmetric
Tensor log_softmax(const Tensor& x);
Tensor log_softmax_push(const Tensor& y, const Tensor& dx);
Tensor log_softmax_pull(const Tensor& y, const Tensor& gy);

// Loss of each row of logits (..., K) -> (...): -sum_k p_k log_softmax(logits)_k. targets: class indices (i32, i64) of shape (...), or
// probabilities p of the logits' shape. ShapeError when the shapes disagree or a class is not in [0, K).
Tensor cross_entropy(const Tensor& logits, const Tensor& targets);

struct CrossEntropySaved {
  Tensor labels, p;                                                // checked targets: either labels (rows), i64, or p (rows, K)
  Tensor top, sum;                                                 // (rows) the largest logit, and sum e^(x - top)
};
Tensor cross_entropy_value(const Tensor& logits, const Tensor& targets, CrossEntropySaved& saved);
// Returns the tangent of the loss for the first dx.dim(0) entries of dimension 0.
Tensor cross_entropy_push(const Tensor& logits, const CrossEntropySaved& saved, const Tensor& dx);
Tensor cross_entropy_pull(const Tensor& logits, const CrossEntropySaved& saved, const Tensor& gloss);

}  // namespace fm
