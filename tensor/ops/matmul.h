// Family `matmul`: products on the engine's own packed GEMM (tensor/kernels/cpu/gemm.h; on a GPU cuBLAS). Transposed views cost nothing: the kernels read
// either order.
#pragma once

#include "tensor/tensor.h"

namespace fm {

// Element types: both operands f32, or f64, or bf16 (summed in f32). Beside an a or x in bf16, b or weight may also be f32: it is rounded to
// bf16 on the way into the kernel; and the result may be requested in f32, unrounded. DTypeError for anything else.

// (..., m, k) x (..., k, n) -> (..., m, n); leading dimensions broadcast.
Tensor matmul(const Tensor& a, const Tensor& b);
Tensor matmul(const Tensor& a, const Tensor& b, DType result);
// y = x W^T + b:  x (..., in), weight (out, in), bias (out) or undefined -> (..., out)
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias);
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, DType result);
// sum (m, n) += a (m, k) b (k, n), in place; sum contiguous, of the result's type
void matmul_into(Tensor& sum, const Tensor& a, const Tensor& b);

}  // namespace fm
