// Row-major matrix products, with the bias of a layer, by cuBLAS and cuBLASLt. Operations that these libraries lack (empty sums, weights that are
// rounded when they are read) are in gemm.cu.
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

// C = alpha op(A) op(B) (+ C), with C (m, n) and sums of k terms. m, n, k and batch are at least 1. f32 and bf16 are summed in f32, f64 in f64.
struct Product {
  std::int64_t m, n, k, batch;
  Matrices a, b;
  void* c;
  cudaDataType_t c_type;
  std::int64_t ldc, stride_c;  // stride_c may be 0 only if batch is 1
  double alpha;
  bool accumulate;
};

// Both functions throw DeviceError with the call, the sizes and the library's reason, and ShapeError for a size above 2^31 - 1.
void multiply(const Product& p);
// Computes one product and adds bias (n), of C's type, to every row. Returns false, and does nothing, if cuBLASLt has no such product.
bool multiply_with_bias(const Product& p, const void* bias);

}  // namespace fm::cuda
