// Matrix products on raw row-major pointers:
//
//   C[q] = alpha op(A[q]) op(B[q])  (+ bias in every row)  (+ C[q] if accumulate),   q = 0 .. batch-1
//
// On the CPU each element of C is a sum over k in an order that does not depend on the number of threads (cpu/gemm.h). On a GPU cuBLAS computes it.
#pragma once

#include <cstdint>

namespace fm::kernels {

// A float that the kernel rounds to bf16 when it packs the operand. For f32 weights with bf16 activations: no rounded copy of the weights is needed.
struct RoundedFloat {
  float value;
};

// Sizes, leading dimensions and strides count elements. C must not overlap A or B.
template <class In, class Out, class InB = In>
struct GemmArgs {
  std::int64_t m, n, k;          // C is (m, n), the sum has k terms; any of them may be 0
  const In* a;                   // op(A) (m, k): a[i * lda + p], or a[p * lda + i] with ta
  std::int64_t lda;
  bool ta;
  const InB* b;                  // op(B) (k, n): b[p * ldb + j], or b[j * ldb + p] with tb
  std::int64_t ldb;
  bool tb;
  Out* c;                        // c[i * ldc + j]
  std::int64_t ldc;
  std::int64_t batch = 1;
  std::int64_t stride_a = 0;     // from one product of the batch to the next; 0: all products share the operand
  std::int64_t stride_b = 0;
  std::int64_t stride_c = 0;     // 0 with accumulate: the sum over the batch
  const Out* bias = nullptr;     // length n
  bool accumulate = false;
  double alpha = 1;
};

// bf16 values are the upper halves of floats; sums are float, and bf16_out rounds once, at the end, to nearest even.
struct GemmKernels {
  void (*f32)(const GemmArgs<float, float>&);
  void (*f64)(const GemmArgs<double, double>&);
  void (*bf16)(const GemmArgs<std::uint16_t, float>&);
  void (*bf16_out)(const GemmArgs<std::uint16_t, std::uint16_t>&);
  void (*bf16_rounding)(const GemmArgs<std::uint16_t, float, RoundedFloat>&);
  void (*bf16_rounding_out)(const GemmArgs<std::uint16_t, std::uint16_t, RoundedFloat>&);
};

}  // namespace fm::kernels
