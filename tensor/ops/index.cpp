#include "tensor/ops/index.h"

#include <cstring>

#include "tensor/error.h"
#include "tensor/kernels/cuda/backend.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/devices.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

void check_type(const Tensor& index, const char* op) {
  if (index.dtype() != DType::i64 && index.dtype() != DType::i32)
    throw DTypeError(std::string(op) + ": indices are " + name_of(index.dtype()) + ", not i32 or i64");
}

// Indices in the form that GPU kernels read. On a GPU an index out of range is an error of the next wait for the device.
Tensor device_indices(const Tensor& index, const char* op) {
  check_type(index, op);
  return index.to(DType::i64).contiguous();
}

std::vector<std::int64_t> checked(const Tensor& index, std::int64_t rows, const char* op) {
  check_type(index, op);
  std::vector<std::int64_t> out = index.to_vector<std::int64_t>();
  for (std::int64_t i : out)
    if (i < 0 || i >= rows)
      throw ShapeError(std::string(op) + ": index " + std::to_string(i) + " is not in [0, " + std::to_string(rows) + ")");
  return out;
}

void check_rows(const Tensor& x, const Tensor& index, const char* op) {
  if (!x.defined() || !index.defined()) throw Error(std::string(op) + ": an undefined tensor was given");
  if (x.rank() == 0) throw ShapeError(std::string(op) + ": a scalar has no rows");
}

std::int64_t row_size(const Shape& shape) { return shape.without(0).numel(); }

}  // namespace

Tensor gather(const Tensor& x, const Tensor& index) {
  check_rows(x, index, "gather");
  const OpName scope("gather");
  if (const Device device = common_device("gather", {&x, &index}); device.is_cuda()) {
    const Tensor in = x.contiguous(), rows = device_indices(index, "gather");
    Tensor y = Tensor::empty(x.shape().with(0, rows.numel()), x.dtype(), device);
    cuda::on(device).index.gather(x.dtype(), in.raw(), rows.data<std::int64_t>(), y.raw(), rows.numel(), row_size(x.shape()), x.dim(0));
    return y;
  }
  const auto rows = checked(index, x.dim(0), "gather");
  Shape shape = x.shape();
  shape[0] = static_cast<std::int64_t>(rows.size());
  const Tensor in = x.contiguous();
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  const std::size_t bytes = rows.empty() ? 0 : y.bytes() / rows.size();
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::memcpy(static_cast<std::byte*>(y.raw()) + i * bytes,
                static_cast<const std::byte*>(in.raw()) + static_cast<std::size_t>(rows[i]) * bytes, bytes);
  return y;
}

Tensor scatter_add(const Tensor& x, const Tensor& index, const Shape& shape) {
  check_rows(x, index, "scatter_add");
  const OpName scope("scatter_add");
  if (x.dim(0) != index.numel() || x.shape().with(0, shape[0]) != shape)
    throw ShapeError("scatter_add: " + std::to_string(index.numel()) + " indices and values of shape " + to_string(x.shape()) +
                     " do not fit a result of shape " + to_string(shape));
  if (const Device device = common_device("scatter_add", {&x, &index}); device.is_cuda()) {
    const Tensor in = x.contiguous(), rows = device_indices(index, "scatter_add");
    Tensor y = Tensor::zeros(shape, x.dtype(), device);
    cuda::on(device).index.scatter_add(x.dtype(), in.raw(), rows.data<std::int64_t>(), y.raw(), rows.numel(), row_size(shape), shape[0]);
    return y;
  }
  const auto rows = checked(index, shape[0], "scatter_add");
  const Tensor in = x.contiguous();
  Tensor y = Tensor::zeros(shape, x.dtype(), x.device());
  const std::int64_t n = rows.empty() ? 0 : x.numel() / static_cast<std::int64_t>(rows.size());
  dispatch(x.dtype(), [&]<class T>(T) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const T* from = in.data<T>() + static_cast<std::int64_t>(i) * n;
      T* to = y.data<T>() + rows[i] * n;
      for (std::int64_t j = 0; j < n; ++j) to[j] = T(to[j] + from[j]);
    }
  });
  return y;
}

Tensor one_hot(const Tensor& index, std::int64_t classes, DType dtype) {
  if (index.device().is_cuda()) {
    const Tensor rows = device_indices(index, "one_hot");
    Tensor y = Tensor::empty({rows.numel(), classes}, dtype, index.device());
    cuda::on(index.device()).index.one_hot(dtype, rows.data<std::int64_t>(), y.raw(), rows.numel(), classes);
    return y;
  }
  const auto rows = checked(index, classes, "one_hot");
  Tensor y = Tensor::zeros({static_cast<std::int64_t>(rows.size()), classes}, dtype, index.device());
  for (std::size_t i = 0; i < rows.size(); ++i) y.select(0, static_cast<std::int64_t>(i)).slice(0, rows[i], rows[i] + 1).fill(1);
  return y;
}

}  // namespace fm
