// Matrix products by cuBLAS and cuBLASLt in this engine's terms: row-major, with the bias of a layer. Operations missing from the libraries (sums
// over nothing, weights that are rounded on use) are in gemm.cu.
#pragma once

#include <cublas_v2.h>

#include <cstdint>

namespace fm::cuda {

struct Matrices {
  const void* data;
  cudaDataType_t type;
  std::int64_t lead;
  bool transposed;
  std::int64_t stride;  // from one product of a batch to the next
};

// C = alpha op(A) op(B) (+ C): C (m, n), k terms, none of these and `batch` 0. f32 and bf16 are summed in f32, f64 in f64.
struct Product {
  std::int64_t m, n, k, batch;
  Matrices a, b;
  void* c;
  cudaDataType_t c_type;
  std::int64_t ldc, stride_c;  // stride_c may be 0 for a batch of 1 alone
  double alpha;
  bool accumulate;
};

// Both throw DeviceError with the call, the sizes and the library's reason; ShapeError for a size beyond 2^31 - 1.
void multiply(const Product& p);
// One product, plus bias (n) of C's type in every row. False, with nothing done, if cuBLASLt has no such product.
bool multiply_with_bias(const Product& p, const void* bias);

}  // namespace fm::cuda
