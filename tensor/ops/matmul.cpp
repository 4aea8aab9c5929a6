#include "tensor/ops/matmul.h"

#include <algorithm>

#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/kernels/dispatch.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/devices.h"
#include "tensor/ops/overlap.h"
#include "tensor/ops/walk.h"
#include "tensor/profile.h"

namespace fm {
namespace {

// The last two dimensions of a tensor in the form that kernels read: one stride is 1, the other is the leading dimension `lead`.
struct Matrix {
  Tensor tensor;
  std::int64_t lead = 1;
  bool transposed = false;
};

Matrix as_matrix(const Tensor& x) {
  const int r = x.rank() - 2, c = x.rank() - 1;
  const std::int64_t rows = x.shape()[r], columns = x.shape()[c], sr = x.strides()[r], sc = x.strides()[c];
  if ((sc == 1 || columns == 1) && (sr >= columns || rows == 1)) return {x, std::max(rows == 1 ? columns : sr, std::int64_t{1}), false};
  if ((sr == 1 || rows == 1) && (sc >= rows || columns == 1)) return {x, std::max(columns == 1 ? rows : sc, std::int64_t{1}), true};
  return {x.contiguous(), std::max(columns, std::int64_t{1}), false};
}

// Runs f with the kernel and the element types of a, b and c (bf16 as raw 16-bit).
template <class F> void with_kernel(Device device, DType a, DType b, DType c, F&& f) {
  using Half = std::uint16_t;
  const auto& k = gemm_kernels(device);
  if (a == DType::f64) f(double{}, double{}, double{}, k.f64);
  else if (a == DType::f32) f(float{}, float{}, float{}, k.f32);
  else if (b == DType::bf16 && c == DType::bf16) f(Half{}, Half{}, Half{}, k.bf16_out);
  else if (b == DType::bf16) f(Half{}, Half{}, float{}, k.bf16);
  else if (c == DType::bf16) f(Half{}, kernels::RoundedFloat{}, Half{}, k.bf16_rounding_out);
  else f(Half{}, kernels::RoundedFloat{}, float{}, k.bf16_rounding);
}

void check_types(const Tensor& a, const Tensor& b, DType c, const char* op) {
  if (!a.defined() || !b.defined()) throw Error(std::string(op) + ": an undefined tensor was given");
  const bool rounds_b = a.dtype() == DType::bf16 && b.dtype() == DType::f32;
  if ((a.dtype() != b.dtype() && !rounds_b) || !is_floating(a.dtype()))
    throw DTypeError(std::string(op) + ": cannot multiply " + name_of(a.dtype()) + " by " + name_of(b.dtype()));
  if (c != a.dtype() && !(c == DType::f32 && a.dtype() == DType::bf16))
    throw DTypeError(std::string(op) + ": the result cannot be " + name_of(c) + " if the operands are " + name_of(a.dtype()));
}

// The number of products in the innermost batch dimension, and the strides of the three operands there. run_batches() loops over the other
// batch dimensions.
struct Batch {
  std::int64_t count = 1, a = 0, b = 0, c = 0;
};

template <class A, class B, class C> struct Call {
  const Matrix& a;
  const Matrix& b;
  C* c;
  std::int64_t m, n, k;
  const C* bias = nullptr;
  bool accumulate = false;
};

template <class A, class B, class C> void count_product(const kernels::GemmArgs<A, C, B>& g) {
  const auto m = static_cast<double>(g.m), n = static_cast<double>(g.n), k = static_cast<double>(g.k), times = static_cast<double>(g.batch);
  count_work(2 * m * n * k * times, times * (m * k * sizeof(A) + k * n * sizeof(B) + m * n * sizeof(C) * (g.accumulate ? 2 : 1)));
}

template <class A, class B, class C, class Kernel>
void run(const Call<A, B, C>& call, const Batch& batch, std::int64_t at_a, std::int64_t at_b, std::int64_t at_c, Kernel kernel) {
  kernels::GemmArgs<A, C, B> args{};
  args.m = call.m;
  args.n = call.n;
  args.k = call.k;
  args.a = static_cast<const A*>(call.a.tensor.raw()) + at_a;
  args.lda = call.a.lead;
  args.ta = call.a.transposed;
  args.b = static_cast<const B*>(call.b.tensor.raw()) + at_b;
  args.ldb = call.b.lead;
  args.tb = call.b.transposed;
  args.c = call.c + at_c;
  args.ldc = call.n;
  args.batch = batch.count;
  args.stride_a = batch.a;
  args.stride_b = batch.b;
  args.stride_c = batch.c;
  args.bias = call.bias;
  args.accumulate = call.accumulate;
  count_product(args);
  kernel(args);
}

// Loops over all batch dimensions but the innermost, which the kernel processes.
template <class A, class B, class C, class Kernel>
void run_batches(const Call<A, B, C>& call, const Walk& batches, Kernel kernel) {
  const int inner = batches.shape.rank() - 1;
  const std::int64_t size = call.m * call.n, count = batches.run_length();
  const Batch last{count, batches.a[inner], batches.b[inner], size};
  for (std::int64_t i = 0; i < batches.runs(); ++i) {
    const Walk::Offsets at = batches.run(i);
    run(call, last, at.a, at.b, i * count * size, kernel);
  }
}

Shape batch_of(const Shape& s) {
  Shape out;
  for (int i = 0; i < s.rank() - 2; ++i) out.push_back(s[i]);
  return out;
}

// Strides of the batch dimensions when broadcast to `batch`.
Strides batch_strides(const Tensor& x, const Shape& batch) {
  Strides out = Shape::filled(batch.rank(), 0);
  const int own = x.rank() - 2;
  for (int i = 0; i < own; ++i)
    if (x.shape()[i] != 1) out[i + batch.rank() - own] = x.strides()[i];
  return out;
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) { return matmul(a, b, a.defined() ? a.dtype() : DType::f32); }

Tensor matmul(const Tensor& a, const Tensor& b, DType result) {
  check_interrupt();
  check_types(a, b, result, "matmul");
  const OpName scope("matmul");
  const Device device = common_device("matmul", {&a, &b});
  if (a.rank() < 2 || b.rank() < 2) throw ShapeError("matmul: needs matrices, got a" + to_string(a.shape()) + " and b" + to_string(b.shape()));
  const std::int64_t m = a.dim(-2), k = a.dim(-1), n = b.dim(-1);
  if (b.dim(-2) != k)
    throw ShapeError("matmul: inner dimensions differ: a" + to_string(a.shape()) + " has " + std::to_string(k) + " columns, b" +
                     to_string(b.shape()) + " has " + std::to_string(b.dim(-2)) + " rows");
  // A batch of rows against one matrix is one product.
  if (b.rank() == 2 && a.rank() > 2 && a.is_contiguous()) {
    Shape out = a.shape();
    out[a.rank() - 1] = n;
    return matmul(a.rows(), b, result).reshape(out);
  }
  const Shape batch = broadcast_shapes(batch_of(a.shape()), batch_of(b.shape()), "matmul");
  Shape out = batch;
  out.push_back(m);
  out.push_back(n);
  Tensor c = Tensor::empty(out, result, device);
  const Matrix ma = as_matrix(a), mb = as_matrix(b);
  const Walk batches = walk_of(batch, batch_strides(ma.tensor, batch), batch_strides(mb.tensor, batch));
  with_kernel(device, a.dtype(), b.dtype(), result, [&]<class A, class B, class C>(A, B, C, auto kernel) {
    run_batches(Call<A, B, C>{ma, mb, static_cast<C*>(c.raw()), m, n, k}, batches, kernel);
  });
  return c;
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) { return linear(x, weight, bias, x.defined() ? x.dtype() : DType::f32); }

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, DType result) {
  check_types(x, weight, result, "linear");
  const OpName scope("linear");
  const Device device = common_device("linear", {&x, &weight, &bias});
  if (weight.rank() != 2 || x.rank() < 1 || x.dim(-1) != weight.dim(1))
    throw ShapeError("linear: x of shape " + to_string(x.shape()) + " does not fit a weight of shape " + to_string(weight.shape()) + " (out, in)");
  if (bias.defined() && bias.shape() != Shape{weight.dim(0)})
    throw ShapeError("linear: a bias of shape " + to_string(bias.shape()) + " does not fit a weight of shape " + to_string(weight.shape()));
  if (bias.defined() && bias.dtype() != x.dtype() && !(bias.dtype() == DType::f32 && x.dtype() == DType::bf16))
    throw DTypeError(std::string("linear: the bias cannot be ") + name_of(bias.dtype()) + " if x is " + name_of(x.dtype()));
  Shape out = x.shape();
  out[x.rank() - 1] = weight.dim(0);
  const Tensor b = bias.defined() ? bias.to(result).contiguous() : bias;
  const Matrix mx = as_matrix(x.rows()), mw = as_matrix(weight.transpose(0, 1));
  Tensor y = Tensor::empty(out, result, device);
  with_kernel(device, x.dtype(), weight.dtype(), result, [&]<class A, class B, class C>(A, B, C, auto kernel) {
    const C* row = b.defined() ? static_cast<const C*>(b.raw()) : nullptr;
    run(Call<A, B, C>{mx, mw, static_cast<C*>(y.raw()), mx.tensor.dim(0), weight.dim(0), weight.dim(1), row}, Batch{}, 0, 0, 0, kernel);
  });
  return y;
}

void matmul_into(Tensor& sum, const Tensor& a, const Tensor& b) {
  check_interrupt();
  check_types(a, b, sum.dtype(), "matmul_into");
  const OpName scope("matmul_into");
  const Device device = common_device("matmul_into", {&sum, &a, &b});
  if (a.rank() != 2 || b.rank() != 2 || a.dim(1) != b.dim(0) || sum.shape() != Shape{a.dim(0), b.dim(1)} || !sum.is_contiguous())
    throw ShapeError("matmul_into: a of shape " + to_string(a.shape()) + " times b of shape " + to_string(b.shape()) +
                     " does not fit a contiguous sum of shape " + to_string(sum.shape()));
  const Matrix ma = as_matrix(apart_from(a, sum)), mb = as_matrix(apart_from(b, sum));
  with_kernel(device, a.dtype(), b.dtype(), sum.dtype(), [&]<class A, class B, class C>(A, B, C, auto kernel) {
    run(Call<A, B, C>{ma, mb, static_cast<C*>(sum.raw()), a.dim(0), b.dim(1), a.dim(1), nullptr, true}, Batch{}, 0, 0, 0, kernel);
  });
}

}  // namespace fm
