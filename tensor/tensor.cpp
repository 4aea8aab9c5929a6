#include "tensor/tensor.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "tensor/error.h"
#include "tensor/kernels/cuda/backend.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/overlap.h"
#include "tensor/ops/walk.h"

namespace fm {

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  for (std::int64_t d : shape)
    if (d < 0) throw ShapeError("a tensor of shape " + to_string(shape) + " was requested: dimensions cannot be negative");
  if (shape.numel() > std::numeric_limits<std::int64_t>::max() / static_cast<std::int64_t>(size_of(dtype)))
    throw ShapeError("a tensor of shape " + to_string(shape) + " was requested: it has more than 2^63 - 1 bytes");
  Tensor t;
  t.shape_ = shape;
  t.strides_ = row_major_strides(shape);
  t.dtype_ = dtype;
  t.device_ = device;
  t.storage_ = allocate(t.bytes(), device);
  t.data_ = t.storage_.get();
  return t;
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  t.fill(value);
  return t;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  if (device.is_cuda()) cuda::on(device).memory.zero(t.data_, t.bytes());
  else std::memset(t.data_, 0, t.bytes());
  return t;
}

Tensor Tensor::arange(std::int64_t n, DType dtype, Device device) {
  Tensor t = empty({n}, dtype, device);
  if (device.is_cuda()) {
    cuda::on(device).copy.arange(dtype, t.data_, n);
    return t;
  }
  dispatch(dtype, [&]<class T>(T) {
    T* p = t.data<T>();
    for (std::int64_t i = 0; i < n; ++i) {
      if constexpr (std::is_same_v<T, bf16>) p[i] = bf16(static_cast<float>(i));
      else p[i] = static_cast<T>(i);
    }
  });
  return t;
}

Tensor Tensor::view_of(std::shared_ptr<std::byte> owner, void* data, const Shape& shape, DType dtype) {
  Tensor t;
  t.storage_ = owner ? std::move(owner) : std::shared_ptr<std::byte>(static_cast<std::byte*>(data), [](std::byte*) {});
  t.data_ = data;
  t.shape_ = shape;
  t.strides_ = row_major_strides(shape);
  t.dtype_ = dtype;
  return t;
}

bool Tensor::is_contiguous() const {
  std::int64_t expected = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (shape_[i] != 1 && strides_[i] != expected) return false;
    expected *= shape_[i];
  }
  return true;
}

double Tensor::item() const {
  if (numel() != 1) throw ShapeError("item: a tensor of shape " + to_string(shape_) + " is not one number");
  return to_vector<double>()[0];
}

void Tensor::check_dtype(DType wanted) const {
  if (!defined()) throw Error("an undefined tensor was used");
  if (wanted != dtype_)
    throw DTypeError(std::string("a tensor of ") + name_of(dtype_) + " and shape " + to_string(shape_) + " was read as " + name_of(wanted));
}

Tensor Tensor::view(const Shape& shape, const Strides& strides, std::int64_t offset) const {
  Tensor t = *this;
  t.shape_ = shape;
  t.strides_ = strides;
  t.data_ = static_cast<std::byte*>(data_) + offset * static_cast<std::int64_t>(size_of(dtype_));
  return t;
}

Tensor Tensor::as_strided(const Shape& shape, const Strides& strides, std::int64_t offset) const {
  std::int64_t last = offset;
  bool fits = rank() == 1 && is_contiguous() && shape.rank() == strides.rank() && offset >= 0;
  for (int i = 0; fits && i < shape.rank(); ++i) {
    std::int64_t reach = 0;
    fits = strides[i] >= 0 && !__builtin_mul_overflow(std::max<std::int64_t>(shape[i] - 1, 0), strides[i], &reach) &&
           !__builtin_add_overflow(last, reach, &last);
  }
  if (!fits || (shape.numel() > 0 && last >= numel()) || offset > numel())
    throw ShapeError("as_strided: shape " + to_string(shape) + " with strides " + to_string(strides) + " from element " +
                     std::to_string(offset) + " does not lie inside a tensor of shape " + to_string(shape_));
  return view(shape, strides, offset);
}

Tensor Tensor::permute(const std::vector<int>& dims) const {
  if (static_cast<int>(dims.size()) != rank())
    throw ShapeError("permute: " + std::to_string(dims.size()) + " dimensions given for a tensor of shape " + to_string(shape_));
  Shape shape, strides;
  unsigned seen = 0;
  for (int d : dims) {
    const int i = normalise_dim(d, rank(), "permute");
    if (seen >> i & 1u) throw ShapeError("permute: dimension " + std::to_string(d) + " is named twice");
    seen |= 1u << i;
    shape.push_back(shape_[i]);
    strides.push_back(strides_[i]);
  }
  return view(shape, strides, 0);
}

Tensor Tensor::transpose(int a, int b) const {
  std::vector<int> dims(static_cast<std::size_t>(rank()));
  for (int i = 0; i < rank(); ++i) dims[static_cast<std::size_t>(i)] = i;
  std::swap(dims[static_cast<std::size_t>(normalise_dim(a, rank(), "transpose"))],
            dims[static_cast<std::size_t>(normalise_dim(b, rank(), "transpose"))]);
  return permute(dims);
}

Tensor Tensor::slice(int dim, std::int64_t begin, std::int64_t end) const {
  const int d = normalise_dim(dim, rank(), "slice");
  if (begin < 0 || end > shape_[d] || begin > end)
    throw ShapeError("slice: [" + std::to_string(begin) + ", " + std::to_string(end) + ") does not lie inside dimension " + std::to_string(d) +
                     " of shape " +
                     to_string(shape_));
  return view(shape_.with(d, end - begin), strides_, begin * strides_[d]);
}

Tensor Tensor::select(int dim, std::int64_t index) const { return slice(dim, index, index + 1).squeeze(dim); }

Tensor Tensor::expand(const Shape& shape) const {
  if (broadcast_shapes(shape_, shape, "expand") != shape)
    throw ShapeError("expand: " + to_string(shape_) + " does not expand to " + to_string(shape));
  Strides strides = Shape::filled(shape.rank(), 0);
  for (int i = 0; i < rank(); ++i) {
    const int j = i + shape.rank() - rank();
    if (shape_[i] != 1 || shape[j] == 1) strides[j] = strides_[i];
  }
  return view(shape, strides, 0);
}

Tensor Tensor::unsqueeze(int dim) const {
  const int d = normalise_dim(dim, rank() + 1, "unsqueeze");
  Shape shape, strides;
  for (int i = 0; i <= rank(); ++i) {
    if (i == d) {
      shape.push_back(1);
      strides.push_back(i < rank() ? shape_[i] * strides_[i] : 1);
    }
    if (i < rank()) {
      shape.push_back(shape_[i]);
      strides.push_back(strides_[i]);
    }
  }
  return view(shape, strides, 0);
}

Tensor Tensor::squeeze(int dim) const {
  const int d = normalise_dim(dim, rank(), "squeeze");
  if (shape_[d] != 1) throw ShapeError("squeeze: dimension " + std::to_string(d) + " of " + to_string(shape_) + " does not have size 1");
  return view(shape_.without(d), strides_.without(d), 0);
}

namespace {

// Finds strides `out` with which shape `to` is a view of a tensor of shape `from`. Returns false if a copy is needed. A view exists if each group
// of dimensions of `from` that has the same product as a group of `to` is contiguous.
bool view_strides(const Shape& from, const Strides& strides, const Shape& to, Strides& out) {
  out = Shape::filled(to.rank(), 1);
  int i = from.rank() - 1, j = to.rank() - 1;
  while (i >= 0 || j >= 0) {
    while (i >= 0 && from[i] == 1) --i;
    while (j >= 0 && to[j] == 1) --j;
    if (i < 0 || j < 0) break;
    std::int64_t stride = strides[i], left = from[i], right = to[j];
    out[j] = stride;
    std::int64_t step = stride * right;
    int jj = j, ii = i;
    while (left != right) {
      if (left < right) {
        --ii;
        if (ii < 0 || strides[ii] != strides[ii + 1] * from[ii + 1]) return false;
        left *= from[ii];
      } else {
        --jj;
        if (jj < 0) return false;
        out[jj] = step;
        step *= to[jj];
        right *= to[jj];
      }
    }
    i = ii - 1;
    j = jj - 1;
  }
  return true;
}

}  // namespace

Shape resolve_shape(const Shape& wanted, std::int64_t numel, const char* op) {
  const auto refuse = [&](const char* why) {
    throw ShapeError(std::string(op) + ": " + std::to_string(numel) + " elements do not fill shape " + to_string(wanted) + why);
  };
  Shape shape = wanted;
  int unknown = -1;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] < -1) refuse(": a dimension is negative");
    if (shape[i] == -1 && unknown >= 0) refuse(": only one dimension may be -1");
    if (shape[i] == -1) unknown = i;
  }
  if (unknown >= 0) {
    const std::int64_t known = shape.without(unknown).numel();
    if (known == 0) refuse(": with a dimension of 0, -1 could be any number");
    shape[unknown] = numel / known;
  }
  if (shape.numel() != numel) refuse("");
  return shape;
}

Tensor Tensor::reshape(const Shape& wanted) const {
  const Shape shape = resolve_shape(wanted, numel(), "reshape");
  if (numel() == 0 || is_contiguous()) return view(shape, row_major_strides(shape), 0);
  Strides strides;
  if (view_strides(shape_, strides_, shape, strides)) return view(shape, strides, 0);
  return contiguous().reshape(shape);
}

Tensor Tensor::flatten(int from, int to) const {
  const int a = normalise_dim(from, rank(), "flatten"), b = normalise_dim(to, rank(), "flatten");
  if (a > b) throw ShapeError("flatten: dimension " + std::to_string(from) + " comes after " + std::to_string(to) + " in a tensor of shape " + to_string(shape_));
  Shape shape;
  for (int i = 0; i < rank(); ++i) {
    if (i > a && i <= b) shape[shape.rank() - 1] *= shape_[i];
    else shape.push_back(shape_[i]);
  }
  return reshape(shape);
}

Tensor Tensor::rows() const {
  if (rank() == 0) throw ShapeError("rows: a scalar has no rows");
  return rank() == 1 ? unsqueeze(0) : flatten(0, rank() - 2);
}

Tensor Tensor::contiguous() const { return is_contiguous() ? *this : clone(); }

Tensor Tensor::clone() const {
  Tensor t = empty(shape_, dtype_, device_);
  copy(*this, t);
  return t;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor t = empty(shape_, dtype, device_);
  copy(*this, t);
  return t;
}

Tensor Tensor::to(Device device) const {
  if (device == device_) return *this;
  if (device.is_cuda() && device_.is_cuda()) return to(Device{}).to(device);
  const Tensor from = contiguous();
  Tensor t = empty(shape_, dtype_, device);
  if (device.is_cuda()) cuda::on(device).memory.upload(t.data_, from.data_, t.bytes());
  else cuda::on(device_).memory.download(t.data_, from.data_, t.bytes());
  return t;
}

void Tensor::copy_from(const Tensor& source) const { copy(source.shape() == shape_ ? source : source.expand(shape_), *this); }

void Tensor::fill(double value) const {
  check_writable(*this, "fill");
  if (device_.is_cuda()) {
    if (numel()) cuda::on(device_).copy.fill(dtype_, data_, value, walk_of(shape_, strides_, strides_));
    return;
  }
  dispatch(dtype_, [&]<class T>(T) {
    T v;
    if constexpr (std::is_same_v<T, bf16>) v = bf16(static_cast<float>(value));
    else v = static_cast<T>(value);
    const Tensor one = view_of({}, &v, {}, dtype_);
    copy(one.expand(shape_), *this);
  });
}

}  // namespace fm
