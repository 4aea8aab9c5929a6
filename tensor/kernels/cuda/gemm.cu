// Family `gemm` on a GPU: products by cuBLAS (cublas.h), and operations that cuBLAS lacks. Products of a batch that share C run one
// after another, so results are the same every time.
#include <climits>

#include "tensor/kernels/cuda/cublas.h"
#include "tensor/kernels/cuda/runtime.h"
#include "tensor/kernels/cuda/tables.h"
#include "tensor/kernels/cuda/walk.cuh"
#include "tensor/memory/allocator.h"

namespace fm::cuda {
namespace {

using Count = std::int64_t;

// The raw element type of GemmArgs.
template <class T>
struct Element {
  using type = T;
};
template <>
struct Element<std::uint16_t> {
  using type = bf16;
};
template <class T>
using ElementOf = typename Element<T>::type;

template <class T>
constexpr cudaDataType_t data_type = CUDA_R_32F;
template <>
constexpr cudaDataType_t data_type<double> = CUDA_R_64F;
template <>
constexpr cudaDataType_t data_type<std::uint16_t> = CUDA_R_16BF;

// c[q, i, j] = sums[q, i, j] + bias[j] (+ c[q, i, j]); sums (without gaps) and bias may be null.
template <class T>
__global__ void rows_kernel(T* c, const Scalar<T>* sums, const T* bias, bool accumulate, Count batch, Count m, Count n, Count ldc,
                            Count stride) {
  for (Count i = first_element(); i < batch * m * n; i += element_step()) {
    const Count row = i / n, j = i - row * n, q = row / m;
    T* at = c + q * stride + (row - q * m) * ldc + j;
    Scalar<T> value = sums ? sums[i] : Scalar<T>(0);
    if (bias) value += static_cast<Scalar<T>>(bias[j]);
    if (accumulate) value += static_cast<Scalar<T>>(*at);
    *at = static_cast<T>(value);
  }
}

template <class Out>
using SumOf = Scalar<ElementOf<Out>>;

template <class In, class Out, class InB>
void set_rows(const GemmArgs<In, Out, InB>& g, const SumOf<Out>* sums = nullptr) {
  using T = ElementOf<Out>;
  launch(current_stream(), grid_for(g.batch * g.m * g.n), dim3(threads_per_block), 0, rows_kernel<T>, reinterpret_cast<T*>(g.c), sums,
         reinterpret_cast<const T*>(g.bias), g.accumulate, g.batch, g.m, g.n, g.ldc, g.stride_c);
}

constexpr Count rounded_together = 4;  // neighbors that a thread rounds

// Rounds x, with leading dimension ldx and `stride` between matrices, to y (count, rows, columns) with leading dimension `lead`. A thread rounds
// neighbors in one row.
__global__ void round_kernel(const float* x, bf16* y, Count count, Count rows, Count columns, Count ldx, Count stride, Count lead) {
  const Count groups = (columns + rounded_together - 1) / rounded_together;
  for (Count i = first_element(); i < count * rows * groups; i += element_step()) {
    const Count row = i / groups, begin = (i - row * groups) * rounded_together, q = row / rows;
    const Count end = begin + rounded_together < columns ? begin + rounded_together : columns;
    const float* from = x + q * stride + (row - q * rows) * ldx;
    for (Count j = begin; j < end; ++j) y[row * lead + j] = bf16(from[j]);
  }
}

template <class In, class Out>
Product product_of(const GemmArgs<In, Out>& g) {
  return {.m = g.m,
          .n = g.n,
          .k = g.k,
          .batch = g.batch,
          .a = {g.a, data_type<In>, g.lda, g.ta, g.stride_a},
          .b = {g.b, data_type<In>, g.ldb, g.tb, g.stride_b},
          .c = g.c,
          .c_type = data_type<Out>,
          .ldc = g.ldc,
          .stride_c = g.stride_c,
          .alpha = g.alpha,
          .accumulate = g.accumulate};
}

// For products whose bias cuBLASLt cannot add: writes the bias first, then adds the product.
template <class In, class Out>
void multiply_onto_bias(const GemmArgs<In, Out>& g) {
  set_rows(g);
  Product p = product_of(g);
  p.accumulate = true;
  multiply(p);
}

// The same if bf16 C is accumulated: computes the product in f32 first, so that the result is rounded once.
template <class In, class Out>
void multiply_beside(const GemmArgs<In, Out>& g) {
  const auto memory = allocate(static_cast<std::size_t>(g.batch * g.m * g.n) * sizeof(float), Device::cuda(current_device()));
  const auto sums = reinterpret_cast<float*>(memory.get());
  GemmArgs<In, float> wide{g.m, g.n, g.k, g.a, g.lda, g.ta, g.b, g.ldb, g.tb, sums, g.n, g.batch, g.stride_a, g.stride_b, g.m * g.n};
  wide.alpha = g.alpha;
  multiply(product_of(wide));
  set_rows(g, sums);
}

template <class In, class Out>
void multiply_one(const GemmArgs<In, Out>& g) {
  if (!g.bias) return multiply(product_of(g));
  if (multiply_with_bias(product_of(g), g.bias)) return;
  if constexpr (std::is_same_v<Out, std::uint16_t>)
    if (g.accumulate) return multiply_beside(g);
  multiply_onto_bias(g);
}

// Calls f with the whole batch or, if the products share C, with one product after another.
template <class In, class Out, class InB, class F>
void in_order(const GemmArgs<In, Out, InB>& g, F&& f) {
  if (g.batch == 1 || g.stride_c != 0) return f(g);
  for (Count q = 0; q < g.batch; ++q) {
    GemmArgs<In, Out, InB> one = g;
    one.batch = 1;
    one.a += q * g.stride_a;
    one.b += q * g.stride_b;
    f(one);
  }
}

// For f32 weights with bf16 activations: rounds the weights into separate memory, whose rows have a distance of a multiple of 16 bytes.
template <class Out>
void multiply_all(const GemmArgs<std::uint16_t, Out, RoundedFloat>& g) {
  const Count rows = g.tb ? g.n : g.k, columns = g.tb ? g.k : g.n, lead = (columns + 7) / 8 * 8, count = g.stride_b ? g.batch : 1;
  const auto memory = allocate(static_cast<std::size_t>(count * rows * lead) * sizeof(bf16), Device::cuda(current_device()));
  launch(current_stream(), grid_for(count * rows * columns), dim3(threads_per_block), 0, round_kernel, reinterpret_cast<const float*>(g.b),
         reinterpret_cast<bf16*>(memory.get()), count, rows, columns, g.ldb, g.stride_b, lead);
  GemmArgs<std::uint16_t, Out> rounded{g.m,  g.n,  g.k, g.a,  g.lda, g.ta, reinterpret_cast<const std::uint16_t*>(memory.get()),
                                       lead, g.tb, g.c, g.ldc};
  rounded.batch = g.batch;
  rounded.stride_a = g.stride_a;
  rounded.stride_b = g.stride_b ? rows * lead : 0;
  rounded.stride_c = g.stride_c;
  rounded.bias = g.bias;
  rounded.accumulate = g.accumulate;
  rounded.alpha = g.alpha;
  in_order(rounded, multiply_one<std::uint16_t, Out>);
}

template <class In, class Out>
void multiply_all(const GemmArgs<In, Out>& g) {
  in_order(g, multiply_one<In, Out>);
}

template <class In, class Out, class InB = In>
void gemm(const GemmArgs<In, Out, InB>& args) {
  GemmArgs<In, Out, InB> g = args;
  if (g.m <= 0 || g.n <= 0 || g.batch <= 0) return;
  // A batch whose products share B, and whose A and C lie row after row, is one taller product.
  const bool taller = g.stride_b == 0 && !g.ta && g.stride_a == g.m * g.lda && g.stride_c == g.m * g.ldc && g.m * g.batch <= INT_MAX;
  if (g.batch > 1 && taller) g.m *= g.batch, g.batch = 1;
  if (g.k > 0) return multiply_all(g);
  if (g.bias || !g.accumulate) in_order(g, [](const auto& one) { set_rows(one); });
}

}  // namespace

const GemmKernels& gemm_kernels() {
  static constexpr GemmKernels table{gemm<float, float>,
                                     gemm<double, double>,
                                     gemm<std::uint16_t, float>,
                                     gemm<std::uint16_t, std::uint16_t>,
                                     gemm<std::uint16_t, float, RoundedFloat>,
                                     gemm<std::uint16_t, std::uint16_t, RoundedFloat>};
  return table;
}

}  // namespace fm::cuda
