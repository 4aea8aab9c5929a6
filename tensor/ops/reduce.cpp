#include "tensor/ops/reduce.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"
#include "tensor/kernels/dispatch.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/devices.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

template <class F> void with_table(const Tensor& x, F&& f) {
  const kernels::ReduceKernels& k = reduce_kernels(x.device());
  if (x.dtype() == DType::f64) f(double{}, k.f64);
  else f(float{}, k.f32);
}

std::vector<bool> marked(const Tensor& x, const std::vector<int>& dims, const char* op) {
  std::vector<bool> mark(static_cast<std::size_t>(x.rank()), false);
  for (int d : dims) mark[static_cast<std::size_t>(normalise_dim(d, x.rank(), op))] = true;
  return mark;
}

// Sums x over the neighboring dimensions from..to (inclusive), which stay with size 1 each.
Tensor sum_run(const Tensor& x, int from, int to) {
  std::int64_t outer = 1, n = 1, inner = 1;
  Shape shape = x.shape();
  for (int i = 0; i < x.rank(); ++i) {
    (i < from ? outer : i <= to ? n : inner) *= shape[i];
    if (i >= from && i <= to) shape[i] = 1;
  }
  const Tensor in = x.contiguous();
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  with_table(x, [&]<class T>(T, const auto& t) {
    if (inner == 1) t.sum_rows(in.data<T>(), y.data<T>(), outer, n);
    else t.sum_columns(in.data<T>(), y.data<T>(), outer, n, inner);
  });
  return y;
}

Tensor drop(const Tensor& x, const std::vector<bool>& mark) {
  Shape shape;
  for (int i = 0; i < x.rank(); ++i)
    if (!mark[static_cast<std::size_t>(i)]) shape.push_back(x.shape()[i]);
  return x.reshape(shape);
}

void check_reducible(const Tensor& x, const char* op) {
  if (!is_floating(x.dtype())) throw DTypeError(std::string(op) + ": needs a floating type, got " + name_of(x.dtype()));
}

void check_not_empty(const Tensor& x, int d, const char* op) {
  if (x.shape()[d] == 0) throw ShapeError(std::string(op) + ": dimension " + std::to_string(d) + " of " + to_string(x.shape()) + " is empty");
}

}  // namespace

Tensor sum(const Tensor& x, const std::vector<int>& dims, bool keep) {
  check_reducible(x, "sum");
  const OpName scope("sum");
  if (x.dtype() == DType::bf16) return sum(x.to(DType::f32), dims, keep).to(DType::bf16);
  const auto mark = marked(x, dims, "sum");
  Tensor y = x;
  for (int to = x.rank() - 1; to >= 0; --to) {
    if (!mark[static_cast<std::size_t>(to)]) continue;
    int from = to;
    while (from > 0 && mark[static_cast<std::size_t>(from - 1)]) --from;
    y = sum_run(y, from, to);
    to = from;
  }
  return keep ? y : drop(y, mark);
}

Tensor sum(const Tensor& x) {
  std::vector<int> all;
  for (int i = 0; i < x.rank(); ++i) all.push_back(i);
  return sum(x, all);
}

Tensor mean(const Tensor& x, const std::vector<int>& dims, bool keep) {
  const auto mark = marked(x, dims, "mean");
  double n = 1;
  for (int i = 0; i < x.rank(); ++i)
    if (mark[static_cast<std::size_t>(i)]) n *= static_cast<double>(x.shape()[i]);
  return affine(sum(x, dims, keep), 1 / n, 0);
}

Tensor mean(const Tensor& x) { return affine(sum(x), 1 / static_cast<double>(x.numel()), 0); }

Tensor max(const Tensor& x, int dim, bool keep) {
  check_reducible(x, "max");
  const OpName scope("max");
  if (x.dtype() == DType::bf16) return max(x.to(DType::f32), dim, keep).to(DType::bf16);
  const int d = normalise_dim(dim, x.rank(), "max");
  check_not_empty(x, d, "max");
  const Tensor rows = x.transpose(d, x.rank() - 1).contiguous();
  Tensor y = Tensor::empty(rows.shape().with(x.rank() - 1, 1), x.dtype(), x.device());
  with_table(x, [&]<class T>(T, const auto& t) { t.max_rows(rows.data<T>(), y.data<T>(), y.numel(), x.shape()[d]); });
  y = y.transpose(d, x.rank() - 1).contiguous();
  return keep ? y : y.squeeze(d);
}

Tensor argmax(const Tensor& x, int dim) {
  const int d = normalise_dim(dim, x.rank(), "argmax");
  check_not_empty(x, d, "argmax");
  const Tensor rows = x.to(DType::f64).transpose(d, x.rank() - 1).contiguous();
  const std::int64_t n = x.shape()[d];
  Tensor y = Tensor::empty(rows.shape().with(x.rank() - 1, 1), DType::i64, x.device());
  if (x.device().is_cuda()) cuda::on(x.device()).index.argmax(rows.data<double>(), y.data<std::int64_t>(), y.numel(), n);
  else for (std::int64_t r = 0; r < y.numel(); ++r) {
    const double* row = rows.data<double>() + r * n;
    y.data<std::int64_t>()[r] = std::max_element(row, row + n) - row;
  }
  return y.transpose(d, x.rank() - 1).contiguous().squeeze(d);
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  std::vector<int> dims;
  const int extra = x.rank() - shape.rank();
  for (int i = 0; i < x.rank(); ++i)
    if (i < extra || (shape[i - extra] == 1 && x.shape()[i] != 1)) dims.push_back(i);
  return sum(x, dims, true).reshape(shape);
}

Tensor squares_of(const std::vector<Tensor>& tensors) {
  Device device;
  for (const Tensor& x : tensors)
    if (x.defined()) device = common_device("sum_squares", {&x});
  const Tensor sums = Tensor::zeros({static_cast<std::int64_t>(tensors.size())}, DType::f64, device);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].defined() || tensors[i].numel() == 0) continue;
    const Tensor in = (tensors[i].dtype() == DType::bf16 ? tensors[i].to(DType::f32) : tensors[i]).contiguous();
    common_device("sum_squares", {&sums, &in});
    with_table(in, [&]<class T>(T, const auto& t) { t.sum_squares(in.data<T>(), in.numel(), sums.data<double>() + i); });
  }
  return sums;
}

std::vector<double> sum_squares(const std::vector<Tensor>& tensors) { return squares_of(tensors).to_vector<double>(); }

double sum_squares(const Tensor& x) { return sum_squares(std::vector<Tensor>{x})[0]; }

// Squares of f32 and bf16 numbers cannot overflow a double. f64 numbers are scaled down before a second try.
bool all_finite(const Tensor& x) {
  if (!x.defined()) throw Error("all_finite: an undefined tensor was given");
  if (!is_floating(x.dtype()) || std::isfinite(sum_squares(x))) return true;
  return x.dtype() == DType::f64 && std::isfinite(sum_squares(affine(x, 0x1p-600, 0)));
}

}  // namespace fm
