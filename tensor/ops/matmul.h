// Family `matmul`: products on the engine's own packed GEMM (tensor/kernels/cpu/gemm.h). Transposed views cost nothing: the kernels read
// either order.
#pragma once

#include "tensor/tensor.h"

namespace fm {

// (..., m, k) x (..., k, n) -> (..., m, n); leading dimensions broadcast. f32, f64, bf16 (accumulated in f32).
Tensor matmul(const Tensor& a, const Tensor& b);
// y = x W^T + b:  x (..., in), weight (out, in), bias (out) or undefined -> (..., out)
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias);
// sum (m, n) += a (m, k) b (k, n), in place; sum contiguous
void matmul_into(Tensor& sum, const Tensor& a, const Tensor& b);

}  // namespace fm
