#include <cublasLt.h>
#include <cublas_v2.h>

#include <algorithm>
#include <string>
#include <vector>

#include "executor.h"

struct host_cublas_handle {
  cudaStream_t stream = nullptr;
};
struct host_lt_handle {};
struct host_lt_description {
  cublasComputeType_t compute{};
  cublasOperation_t ta = CUBLAS_OP_N, tb = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  cudaDataType_t bias_type = CUDA_R_32F;
};
struct host_lt_layout {
  cudaDataType_t type;
  std::uint64_t rows, columns;
  std::int64_t lead;
};
struct host_lt_preference {};

namespace {

struct Operand {
  const void* data;
  cudaDataType_t type;
  std::int64_t lead, stride;
  bool transposed;
};

// C = alpha op(A) op(B) + beta C (+ bias in every column), column-major.
struct Product {
  std::int64_t m, n, k, batch;
  Operand a, b;
  void* c;
  cudaDataType_t c_type;
  std::int64_t ldc, stride_c;
  double alpha, beta;
  const void* bias = nullptr;
};

std::int64_t size_of(cudaDataType_t type) { return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2; }

double load(const void* p, std::int64_t i, cudaDataType_t type) {
  if (type == CUDA_R_64F) return static_cast<const double*>(p)[i];
  if (type == CUDA_R_32F) return static_cast<const float*>(p)[i];
  const std::uint32_t bits = static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(p)[i]) << 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

void store(void* p, std::int64_t i, cudaDataType_t type, double value) {
  if (type == CUDA_R_64F) {
    static_cast<double*>(p)[i] = value;
    return;
  }
  const auto x = static_cast<float>(value);
  if (type == CUDA_R_32F) {
    static_cast<float*>(p)[i] = x;
    return;
  }
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  static_cast<std::uint16_t*>(p)[i] = static_cast<std::uint16_t>(nan ? (bits >> 16) | 0x40u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

void check_footprint(const char* name, const void* p, std::int64_t rows, std::int64_t columns, std::int64_t lead, std::int64_t stride, std::int64_t batch,
                     cudaDataType_t type) {
  const std::int64_t elements = (batch - 1) * stride + (columns - 1) * lead + rows;
  if (!host_cuda::is_allocated(p, static_cast<std::size_t>(elements * size_of(type))))
    throw host_cuda::Report(std::string("cuBLAS: matrix ") + name + " of " + std::to_string(rows) + " x " + std::to_string(columns) + ", leading dimension " +
                            std::to_string(lead) + ", leaves its allocation, or its memory was freed or belongs to another device");
}

// op(x) in double as (k, extent), extent contiguous. k is the index that the product sums over.
std::vector<double> unpacked(const Operand& x, const char* at, std::int64_t k, std::int64_t extent, bool sum_along_columns) {
  std::vector<double> out(static_cast<std::size_t>(k * extent));
  for (std::int64_t p = 0; p < k; ++p)
    for (std::int64_t i = 0; i < extent; ++i)
      out[static_cast<std::size_t>(p * extent + i)] = load(at, sum_along_columns ? i + p * x.lead : p + i * x.lead, x.type);
  return out;
}

void multiply(const Product& g) {
  const bool a_by_columns = !g.a.transposed, b_by_columns = g.b.transposed;
  check_footprint("A", g.a.data, a_by_columns ? g.m : g.k, a_by_columns ? g.k : g.m, g.a.lead, g.a.stride, g.batch, g.a.type);
  check_footprint("B", g.b.data, b_by_columns ? g.n : g.k, b_by_columns ? g.k : g.n, g.b.lead, g.b.stride, g.batch, g.b.type);
  check_footprint("C", g.c, g.m, g.n, g.ldc, g.stride_c, g.batch, g.c_type);
  if (g.bias) check_footprint("bias", g.bias, g.m, 1, g.m, 0, 1, g.c_type);
  std::vector<double> column(static_cast<std::size_t>(g.m));
  for (std::int64_t q = 0; q < g.batch; ++q) {
    const auto a = unpacked(g.a, static_cast<const char*>(g.a.data) + q * g.a.stride * size_of(g.a.type), g.k, g.m, a_by_columns);
    const auto b = unpacked(g.b, static_cast<const char*>(g.b.data) + q * g.b.stride * size_of(g.b.type), g.k, g.n, b_by_columns);
    char* c = static_cast<char*>(g.c) + q * g.stride_c * size_of(g.c_type);
    for (std::int64_t j = 0; j < g.n; ++j) {
      std::fill(column.begin(), column.end(), 0.0);
      for (std::int64_t p = 0; p < g.k; ++p) {
        const double right = b[static_cast<std::size_t>(p * g.n + j)];
        const double* left = a.data() + p * g.m;
        for (std::int64_t i = 0; i < g.m; ++i) column[static_cast<std::size_t>(i)] += left[i] * right;
      }
      for (std::int64_t i = 0; i < g.m; ++i) {
        double value = g.alpha * column[static_cast<std::size_t>(i)];
        if (g.bias) value += load(g.bias, i, g.c_type);
        if (g.beta != 0) value += g.beta * load(c, i + j * g.ldc, g.c_type);
        store(c, i + j * g.ldc, g.c_type, value);
      }
    }
  }
}

bool types_fit(const Product& g, cublasComputeType_t compute) {
  if (compute == CUBLAS_COMPUTE_64F) return g.a.type == CUDA_R_64F && g.b.type == CUDA_R_64F && g.c_type == CUDA_R_64F;
  if (g.a.type != g.b.type) return false;
  return (g.a.type == CUDA_R_32F && g.c_type == CUDA_R_32F) || (g.a.type == CUDA_R_16BF && g.c_type != CUDA_R_64F);
}

cublasStatus_t run(cudaStream_t stream, const Product& g, cublasComputeType_t compute) {
  if (g.m < 0 || g.n < 0 || g.k < 0 || g.batch < 0 || g.a.lead < std::max<std::int64_t>(1, g.a.transposed ? g.k : g.m) ||
      g.b.lead < std::max<std::int64_t>(1, g.b.transposed ? g.n : g.k) || g.ldc < std::max<std::int64_t>(1, g.m))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (!types_fit(g, compute)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (g.m == 0 || g.n == 0 || g.batch == 0) return CUBLAS_STATUS_SUCCESS;
  if (!stream) return CUBLAS_STATUS_NOT_INITIALIZED;
  return host_cuda::enqueue(stream, [g] { multiply(g); }) == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

double factor(const void* p, cublasComputeType_t compute) {
  return compute == CUBLAS_COMPUTE_64F ? *static_cast<const double*>(p) : *static_cast<const float*>(p);
}

}  // namespace

const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "success";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "the library was not initialized";
    case CUBLAS_STATUS_INVALID_VALUE: return "an unsupported value or parameter was passed";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "the functionality requested is not supported";
    default: return "the program failed to execute";
  }
}
cublasStatus_t cublasCreate(cublasHandle_t* handle) { return *handle = new host_cublas_handle, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasDestroy(cublasHandle_t handle) { return delete handle, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) { return handle->stream = stream, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetWorkspace(cublasHandle_t, void*, std::size_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const void* alpha, const void* a,
                            cudaDataType_t a_type, int lda, const void* b, cudaDataType_t b_type, int ldb, const void* beta, void* c,
                            cudaDataType_t c_type, int ldc, cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
  return cublasGemmStridedBatchedEx(handle, ta, tb, m, n, k, alpha, a, a_type, lda, 0, b, b_type, ldb, 0, beta, c, c_type, ldc, 0, 1, compute, algorithm);
}
cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const void* alpha,
                                          const void* a, cudaDataType_t a_type, int lda, long long stride_a, const void* b, cudaDataType_t b_type,
                                          int ldb, long long stride_b, const void* beta, void* c, cudaDataType_t c_type, int ldc, long long stride_c,
                                          int batch, cublasComputeType_t compute, cublasGemmAlgo_t) {
  return run(handle->stream,
             {m, n, k, batch, {a, a_type, lda, stride_a, ta == CUBLAS_OP_T}, {b, b_type, ldb, stride_b, tb == CUBLAS_OP_T}, c, c_type, ldc, stride_c,
              factor(alpha, compute), factor(beta, compute)},
             compute);
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) { return *handle = new host_lt_handle, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return delete handle, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* d, cublasComputeType_t compute, cudaDataType_t) {
  *d = new host_lt_description;
  (*d)->compute = compute;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) { return delete d, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t attribute, const void* value, std::size_t bytes) {
  const auto set = [&](auto& field) {
    if (bytes != sizeof field) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&field, value, sizeof field);
    return CUBLAS_STATUS_SUCCESS;
  };
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return set(d->ta);
    case CUBLASLT_MATMUL_DESC_TRANSB: return set(d->tb);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return set(d->epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return set(d->bias);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: return set(d->bias_type);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, std::uint64_t rows, std::uint64_t columns, std::int64_t lead) {
  return *layout = new host_lt_layout{type, rows, columns, lead}, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) { return delete layout, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* p) { return *p = new host_lt_preference, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) { return delete p, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t, const void*, std::size_t) {
  return CUBLAS_STATUS_SUCCESS;
}

namespace {

// Stores the product of a description and its layouts in g. Returns false if they contradict each other.
bool described(const host_lt_description& d, const host_lt_layout& a, const host_lt_layout& b, const host_lt_layout& c, Product& g) {
  const auto m = static_cast<std::int64_t>(c.rows), n = static_cast<std::int64_t>(c.columns);
  const bool ta = d.ta == CUBLAS_OP_T, tb = d.tb == CUBLAS_OP_T;
  const auto k = static_cast<std::int64_t>(ta ? a.rows : a.columns);
  g = {m, n, k, 1, {nullptr, a.type, a.lead, 0, ta}, {nullptr, b.type, b.lead, 0, tb}, nullptr, c.type, c.lead, 0, 1, 0};
  return static_cast<std::int64_t>(ta ? a.columns : a.rows) == m && static_cast<std::int64_t>(tb ? b.columns : b.rows) == k &&
         static_cast<std::int64_t>(tb ? b.rows : b.columns) == n;
}

}  // namespace

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t result, cublasLtMatmulPreference_t, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  Product g;
  if (!described(*d, *a, *b, *result, g)) return CUBLAS_STATUS_INVALID_VALUE;
  *found = 0;
  if (wanted < 1 || !types_fit(g, d->compute)) return CUBLAS_STATUS_NOT_SUPPORTED;
  results[0] = {};
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t d, const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void*, cublasLtMatrixLayout_t, void* result,
                              cublasLtMatrixLayout_t result_layout, const cublasLtMatmulAlgo_t*, void*, std::size_t, cudaStream_t stream) {
  Product g;
  if (!described(*d, *a_layout, *b_layout, *result_layout, g)) return CUBLAS_STATUS_INVALID_VALUE;
  g.a.data = a;
  g.b.data = b;
  g.c = result;
  g.alpha = factor(alpha, d->compute);
  g.beta = factor(beta, d->compute);
  if (d->epilogue == CUBLASLT_EPILOGUE_BIAS) g.bias = d->bias;
  return run(stream, g, d->compute);
}
