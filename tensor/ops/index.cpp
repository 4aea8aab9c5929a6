#include "tensor/ops/index.h"

#include <cstring>

#include "tensor/error.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

std::vector<std::int64_t> checked(const Tensor& index, std::int64_t rows, const char* op) {
  if (index.dtype() != DType::i64 && index.dtype() != DType::i32)
    throw DTypeError(std::string(op) + ": indices are " + name_of(index.dtype()) + ", not i32 or i64");
  std::vector<std::int64_t> out = index.to_vector<std::int64_t>();
  for (std::int64_t i : out)
    if (i < 0 || i >= rows)
      throw ShapeError(std::string(op) + ": index " + std::to_string(i) + " is not in [0, " + std::to_string(rows) + ")");
  return out;
}

}  // namespace

Tensor gather(const Tensor& x, const Tensor& index) {
  const OpName scope("gather");
  const auto rows = checked(index, x.dim(0), "gather");
  Shape shape = x.shape();
  shape[0] = static_cast<std::int64_t>(rows.size());
  const Tensor in = x.contiguous();
  Tensor y = Tensor::empty(shape, x.dtype());
  const std::size_t bytes = rows.empty() ? 0 : y.bytes() / rows.size();
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::memcpy(static_cast<std::byte*>(y.raw()) + i * bytes,
                static_cast<const std::byte*>(in.raw()) + static_cast<std::size_t>(rows[i]) * bytes, bytes);
  return y;
}

Tensor scatter_add(const Tensor& x, const Tensor& index, const Shape& shape) {
  const OpName scope("scatter_add");
  const auto rows = checked(index, shape[0], "scatter_add");
  if (x.dim(0) != static_cast<std::int64_t>(rows.size()) || x.shape().with(0, shape[0]) != shape)
    throw ShapeError("scatter_add: " + std::to_string(rows.size()) + " indices and values " + to_string(x.shape()) + " into " + to_string(shape));
  const Tensor in = x.contiguous();
  Tensor y = Tensor::zeros(shape, x.dtype());
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
  const auto rows = checked(index, classes, "one_hot");
  Tensor y = Tensor::zeros({static_cast<std::int64_t>(rows.size()), classes}, dtype);
  for (std::size_t i = 0; i < rows.size(); ++i) y.select(0, static_cast<std::int64_t>(i)).slice(0, rows[i], rows[i] + 1).fill(1);
  return y;
}

}  // namespace fm
