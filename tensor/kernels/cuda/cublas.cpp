// Each thread has handles for each device, with a workspace from the memory of tensors, so that products neither allocate nor wait.
//
// cuBLAS stores by columns. A row-major matrix is the transpose of a column-major one of the same leading dimension, and
// C^T = op(B)^T op(A)^T. So B is passed first, with its own transposition, and the sizes are (n, m, k).
#include "tensor/kernels/cuda/cublas.h"

#include <cublasLt.h>

#include <array>
#include <climits>
#include <map>
#include <memory>
#include <string>

#include "tensor/error.h"
#include "tensor/kernels/cuda/precision.h"
#include "tensor/kernels/cuda/runtime.h"
#include "tensor/memory/allocator.h"

namespace fm::cuda {
namespace {

// Returns the size that NVIDIA recommends (cuBLAS's manual, cublasSetWorkspace).
std::size_t advised_workspace() {
  cudaDeviceProp properties{};
  fm::cuda::check(cudaGetDeviceProperties(&properties, current_device()), "cudaGetDeviceProperties");
  return std::size_t{properties.major >= 9 ? 32u : 4u} << 20;
}

std::string text(std::int64_t n) { return std::to_string(n); }

std::string type_name(cudaDataType_t type) { return type == CUDA_R_64F ? "f64" : type == CUDA_R_32F ? "f32" : "bf16"; }

std::string describe(const Product& p) {
  const auto operand = [](const Matrices& x) {
    return (x.transposed ? "transposed " : "") + type_name(x.type) + " of leading dimension " + text(x.lead);
  };
  return "(" + text(p.m) + ", " + text(p.k) + ") " + operand(p.a) + " x (" + text(p.k) + ", " + text(p.n) + ") " + operand(p.b) + " -> " +
         type_name(p.c_type) + " of leading dimension " + text(p.ldc) + ", " + text(p.batch) + " times";
}

void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw DeviceError(std::string(call) + " on cuda:" + std::to_string(current_device()) + ": " + cublasGetStatusString(status));
}

void check(cublasStatus_t status, const char* call, const Product& p) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw DeviceError(std::string(call) + " on cuda:" + std::to_string(current_device()) + ": " + cublasGetStatusString(status) + " for " +
                      describe(p));
}

int as_int(std::int64_t n, const Product& p) {
  if (n > INT_MAX) throw ShapeError("product on a GPU: " + describe(p) + ": cuBLAS supports sizes up to 2^31 - 1; split the operands");
  return static_cast<int>(n);
}

// Identifies a product of cuBLASLt: sizes, leading dimensions, transpositions, types, accumulate, TF32.
using Key = std::array<std::int64_t, 12>;

// The algorithm that cuBLASLt chose for a Key.
struct Plan {
  Plan() = default;
  Plan(const Plan&) = delete;
  ~Plan() {
    if (description) cublasLtMatmulDescDestroy(description);
    for (cublasLtMatrixLayout_t layout : {first, second, result})
      if (layout) cublasLtMatrixLayoutDestroy(layout);
  }
  cublasLtMatmulDesc_t description = nullptr;
  cublasLtMatrixLayout_t first = nullptr, second = nullptr, result = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  bool found = false;
};

struct Handles {
  Handles() {
    check(cublasCreate(&blas), "cublasCreate");
    // Partial sums of a long bf16 product stay in f32: the result is rounded once.
    check(cublasSetMathMode(blas, static_cast<cublasMath_t>(CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)),
          "cublasSetMathMode");
    check(cublasLtCreate(&lt), "cublasLtCreate");
    const OpName name("cublas workspace");
    workspace_bytes = advised_workspace();
    workspace = allocate(workspace_bytes, Device::cuda(current_device()));
  }
  Handles(const Handles&) = delete;
  ~Handles() {
    plans.clear();
    if (lt) cublasLtDestroy(lt);
    if (blas) cublasDestroy(blas);
  }

  void follow(cudaStream_t now) {
    if (now == stream) return;
    check(cublasSetStream(blas, now), "cublasSetStream");
    check(cublasSetWorkspace(blas, workspace.get(), workspace_bytes), "cublasSetWorkspace");  // after cublasSetStream, which resets it
    stream = now;
  }

  cublasHandle_t blas = nullptr;
  cublasLtHandle_t lt = nullptr;
  cudaStream_t stream = nullptr;
  std::size_t workspace_bytes = 0;
  std::shared_ptr<std::byte> workspace;
  std::map<Key, Plan> plans;
};

Handles& handles() {
  thread_local std::map<int, std::unique_ptr<Handles>> by_device;
  std::unique_ptr<Handles>& h = by_device[current_device()];
  if (!h) h = std::make_unique<Handles>();
  h->follow(current_stream());
  return *h;
}

cublasOperation_t operation(const Matrices& x) { return x.transposed ? CUBLAS_OP_T : CUBLAS_OP_N; }

cublasComputeType_t compute_type(const Product& p) {
  if (p.c_type == CUDA_R_64F) return CUBLAS_COMPUTE_64F;
  return p.a.type == CUDA_R_32F && tf32_allowed() ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

// alpha and beta, in the type of the sums.
struct Factors {
  explicit Factors(const Product& p)
      : wide(p.c_type == CUDA_R_64F), d{p.alpha, p.accumulate ? 1.0 : 0.0}, f{static_cast<float>(d[0]), static_cast<float>(d[1])} {}
  const void* alpha() const { return wide ? static_cast<const void*>(&d[0]) : &f[0]; }
  const void* beta() const { return wide ? static_cast<const void*>(&d[1]) : &f[1]; }
  bool wide;
  double d[2];
  float f[2];
};

void set_bias(Plan& plan, const void* bias, const Product& p) {
  check(cublasLtMatmulDescSetAttribute(plan.description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias),
        "cublasLtMatmulDescSetAttribute", p);
}

// Makes the layout of the column-major matrix whose transpose is op(x), a matrix of `rows` x `columns`.
void make_layout(cublasLtMatrixLayout_t* layout, cudaDataType_t type, bool transposed, std::int64_t rows, std::int64_t columns,
                 std::int64_t lead, const Product& p) {
  const auto down = static_cast<std::uint64_t>(transposed ? rows : columns),
             across = static_cast<std::uint64_t>(transposed ? columns : rows);
  check(cublasLtMatrixLayoutCreate(layout, type, down, across, lead), "cublasLtMatrixLayoutCreate", p);
}

void describe_product(Plan& plan, const Product& p, const void* bias) {
  const cublasOperation_t first = operation(p.b), second = operation(p.a);
  const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
  const cudaDataType_t bias_type = p.c_type;
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    check(cublasLtMatmulDescSetAttribute(plan.description, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute", p);
  };
  check(cublasLtMatmulDescCreate(&plan.description, compute_type(p), CUDA_R_32F), "cublasLtMatmulDescCreate", p);
  set(CUBLASLT_MATMUL_DESC_TRANSA, first);
  set(CUBLASLT_MATMUL_DESC_TRANSB, second);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
  set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, bias_type);
  set_bias(plan, bias, p);
  make_layout(&plan.first, p.b.type, p.b.transposed, p.k, p.n, p.b.lead, p);
  make_layout(&plan.second, p.a.type, p.a.transposed, p.m, p.k, p.a.lead, p);
  make_layout(&plan.result, p.c_type, false, p.m, p.n, p.ldc, p);
}

// Asks for the fastest algorithm that fits into the workspace and adds partial sums in f32.
void choose_algorithm(Plan& plan, const Handles& h, const Product& p) {
  cublasLtMatmulPreference_t raw = nullptr;
  check(cublasLtMatmulPreferenceCreate(&raw), "cublasLtMatmulPreferenceCreate", p);
  const std::unique_ptr<std::remove_pointer_t<cublasLtMatmulPreference_t>, cublasStatus_t (*)(cublasLtMatmulPreference_t)> wish(
      raw, cublasLtMatmulPreferenceDestroy);
  const std::uint32_t sums = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  check(cublasLtMatmulPreferenceSetAttribute(raw, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &h.workspace_bytes, sizeof h.workspace_bytes),
        "cublasLtMatmulPreferenceSetAttribute", p);
  check(cublasLtMatmulPreferenceSetAttribute(raw, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &sums, sizeof sums),
        "cublasLtMatmulPreferenceSetAttribute", p);
  cublasLtMatmulHeuristicResult_t best{};
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(h.lt, plan.description, plan.first, plan.second, plan.result, plan.result, raw, 1, &best, &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && count == 0)) return;
  check(status, "cublasLtMatmulAlgoGetHeuristic", p);
  plan.algorithm = best.algo;
  plan.found = best.state == CUBLAS_STATUS_SUCCESS;
}

Plan& plan_of(Handles& h, const Product& p, const void* bias) {
  const Key key{p.m, p.n, p.k, p.a.lead, p.b.lead, p.ldc, p.a.transposed, p.b.transposed, p.a.type, p.c_type, p.accumulate, tf32_allowed()};
  const auto [it, fresh] = h.plans.try_emplace(key);
  Plan& plan = it->second;
  if (!fresh) {
    if (plan.found) set_bias(plan, bias, p);
    return plan;
  }
  try {
    describe_product(plan, p, bias);
    choose_algorithm(plan, h, p);
  } catch (...) {
    h.plans.erase(it);
    throw;
  }
  return plan;
}

bool aligned(const void* p, std::uintptr_t bytes) { return reinterpret_cast<std::uintptr_t>(p) % bytes == 0; }

}  // namespace

void multiply(const Product& p) {
  const Handles& h = handles();
  const Factors factor(p);
  const auto i = [&](std::int64_t n) { return as_int(n, p); };
  if (p.batch == 1) {
    check(cublasGemmEx(h.blas, operation(p.b), operation(p.a), i(p.n), i(p.m), i(p.k), factor.alpha(), p.b.data, p.b.type, i(p.b.lead),
                       p.a.data, p.a.type, i(p.a.lead), factor.beta(), p.c, p.c_type, i(p.ldc), compute_type(p), CUBLAS_GEMM_DEFAULT),
          "cublasGemmEx", p);
    return;
  }
  check(cublasGemmStridedBatchedEx(h.blas, operation(p.b), operation(p.a), i(p.n), i(p.m), i(p.k), factor.alpha(), p.b.data, p.b.type,
                                   i(p.b.lead), p.b.stride, p.a.data, p.a.type, i(p.a.lead), p.a.stride, factor.beta(), p.c, p.c_type,
                                   i(p.ldc), p.stride_c, i(p.batch), compute_type(p), CUBLAS_GEMM_DEFAULT),
        "cublasGemmStridedBatchedEx", p);
}

bool multiply_with_bias(const Product& p, const void* bias) {
  // cuBLASLt chooses algorithms for operands with the alignment of new allocations. Other views are left to the caller.
  if (p.batch != 1 || p.c_type == CUDA_R_64F || !aligned(p.a.data, 256) || !aligned(p.b.data, 256) || !aligned(p.c, 256) ||
      !aligned(bias, 16))
    return false;
  Handles& h = handles();
  const Plan& plan = plan_of(h, p, bias);
  if (!plan.found) return false;
  const Factors factor(p);
  check(cublasLtMatmul(h.lt, plan.description, factor.alpha(), p.b.data, plan.first, p.a.data, plan.second, factor.beta(), p.c, plan.result,
                       p.c, plan.result, &plan.algorithm, h.workspace.get(), h.workspace_bytes, h.stream),
        "cublasLtMatmul", p);
  return true;
}

}  // namespace fm::cuda
