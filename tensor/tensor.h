// Tensor: a strided n-dimensional array without history: results computed from Tensors cannot be differentiated (see autodiff/var.h).
//
// A Tensor is a handle: copies and views share memory. Operations (tensor/ops/) return new tensors and leave their inputs unchanged. They run on the
// device of their operands. The CPU cannot read a GPU's memory: data() of a tensor on a GPU is an address to pass to CUDA.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace fm {

class Tensor {
 public:
  Tensor() = default;                                    // undefined: no memory, defined() is false

  static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = default_device());      // uninitialized
  static Tensor full(const Shape& shape, double value, DType dtype = DType::f32, Device device = default_device());
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = default_device());
  static Tensor ones(const Shape& shape, DType dtype = DType::f32, Device device = default_device()) { return full(shape, 1.0, dtype, device); }
  static Tensor scalar(double value, DType dtype = DType::f32, Device device = default_device()) { return full({}, value, dtype, device); }
  static Tensor arange(std::int64_t n, DType dtype = DType::f32, Device device = default_device());         // 0, 1, ..., n-1
  template <class T> static Tensor from(const std::vector<T>& values, const Shape& shape);   // ShapeError if the counts differ
  // A row-major CPU tensor over existing memory, which `owner` keeps alive (a mapped file, say).
  static Tensor view_of(std::shared_ptr<std::byte> owner, void* data, const Shape& shape, DType dtype);

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  const Strides& strides() const { return strides_; }
  int rank() const { return shape_.rank(); }
  std::int64_t dim(int i) const { return shape_[normalise_dim(i, rank(), "dim")]; }
  std::int64_t numel() const { return shape_.numel(); }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  bool is_contiguous() const;
  bool is_unique() const { return storage_.use_count() == 1; }            // no other tensor shares the memory
  bool shares_memory_with(const Tensor& other) const { return storage_ == other.storage_; }

  void* raw() const { return data_; }
  template <class T> T* data() const { check_dtype(dtype_of<T>); return static_cast<T*>(data_); }   // DTypeError if T is another type
  template <class T> std::vector<T> to_vector() const;                    // elements in row-major order, converted to T; waits for the device
  double item() const;                                                    // the value of a one-element tensor; waits for the device

  // Views: they share this memory. A ShapeError names the operation.
  Tensor permute(const std::vector<int>& dims) const;
  Tensor transpose(int a, int b) const;
  Tensor slice(int dim, std::int64_t begin, std::int64_t end) const;
  Tensor select(int dim, std::int64_t index) const;                       // slice of one, without the dimension
  Tensor expand(const Shape& shape) const;                                // broadcast by stride 0
  Tensor unsqueeze(int dim) const;
  Tensor squeeze(int dim) const;
  // Element (i, j, ...) is element offset + i strides[0] + j strides[1] + ... of this contiguous vector. ShapeError if any lies outside of it.
  Tensor as_strided(const Shape& shape, const Strides& strides, std::int64_t offset = 0) const;
  // A view if the strides allow it, else a copy. One dimension may be -1.
  Tensor reshape(const Shape& shape) const;
  Tensor flatten(int from, int to) const;                                 // dimensions from..to (inclusive) become one
  Tensor rows() const;                                                    // (..., n) seen as (product of the others, n)

  Tensor contiguous() const;                                              // this tensor if row-major, else a copy
  Tensor clone() const;                                                   // always a copy
  Tensor to(DType dtype) const;                                           // this tensor if it has that type
  Tensor to(Device device) const;                                         // this tensor if on that device; a copy from a GPU waits for the GPU
  // Write into this memory. ShapeError if two elements share memory, as in an expanded view. The source is broadcast to this shape and
  // converted to this type; it may be a view of this memory.
  void copy_from(const Tensor& source) const;
  void fill(double value) const;

 private:
  void check_dtype(DType wanted) const;
  Tensor view(const Shape& shape, const Strides& strides, std::int64_t offset) const;

  std::shared_ptr<std::byte> storage_;
  void* data_ = nullptr;
  Shape shape_;
  Strides strides_;
  DType dtype_ = DType::f32;
  Device device_;
};

// Returns `wanted` with its -1, if any, replaced so that the shape has `numel` elements. ShapeError if no number fits, or if several do (a -1
// beside a 0).
Shape resolve_shape(const Shape& wanted, std::int64_t numel, const char* op);

// Calls f(T{}), where T is the C++ type of `dtype`.
template <class F> decltype(auto) dispatch(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f64: return f(double{});
    case DType::bf16: return f(bf16{});
    case DType::i32: return f(std::int32_t{});
    case DType::i64: return f(std::int64_t{});
    case DType::u8: return f(std::uint8_t{});
    default: return f(float{});
  }
}

template <class T> Tensor Tensor::from(const std::vector<T>& values, const Shape& shape) {
  Tensor flat = view_of({}, const_cast<T*>(values.data()), {static_cast<std::int64_t>(values.size())}, dtype_of<T>);
  resolve_shape(shape, flat.numel(), "Tensor::from");
  Tensor out = empty(shape, dtype_of<T>);
  out.reshape({-1}).copy_from(flat);
  return out;
}

template <class T> std::vector<T> Tensor::to_vector() const {
  const Tensor t = to(dtype_of<T>).contiguous().to(Device{});
  return {t.data<T>(), t.data<T>() + t.numel()};
}

}  // namespace fm
