// Family `matmul`: products on the engine's own packed GEMM (tensor/kernels/cpu/gemm.h; on a GPU cuBLAS). Transposed views cost nothing: the kernels read
// either order.
#pragma once

#include "tensor/tensor.h"

namespace fm {

// Element types: both operands f32, or f64, or bf16 (summed in f32). If the first operand is bf16, the second may be f32: the kernel rounds it to
// bf16 as it reads it. If the first operand is bf16, the result may be requested in f32, unrounded. DTypeError for other types.

// (..., m, k) x (..., k, n) -> (..., m, n); leading dimensions broadcast.
Tensor matmul(const Tensor& a, const Tensor& b);
Tensor matmul(const Tensor& a, const Tensor& b, DType result);
// y = x W^T + b:  x (..., in), weight (out, in), bias (out) or undefined -> (..., out)
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias);
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, DType result);
// sum (m, n) += a (m, k) b (k, n), in place. sum must be contiguous; its type is the type of the result.
void matmul_into(Tensor& sum, const Tensor& a, const Tensor& b);

}  // namespace fm
