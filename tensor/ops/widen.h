// Element types of the fused operations, which compute in f64 for f64 inputs and else in f32. bf16 operands are widened and results rounded back.
#pragma once

#include <string>

#include "tensor/error.h"
#include "tensor/tensor.h"

namespace fm {

inline DType compute_type(const Tensor& x, const char* op) {
  if (!x.defined()) throw Error(std::string(op) + ": an undefined tensor was given");
  if (!is_floating(x.dtype())) throw DTypeError(std::string(op) + ": needs f32, f64 or bf16, got " + name_of(x.dtype()));
  return x.dtype() == DType::f64 ? DType::f64 : DType::f32;
}

// Returns x in the type of the computation. An undefined x is returned unchanged.
inline Tensor widen(const Tensor& x, DType compute, const char* op) {
  if (!x.defined() || x.dtype() == compute) return x;
  if (x.dtype() == DType::bf16 && compute == DType::f32) return x.to(DType::f32);
  throw DTypeError(std::string(op) + ": an operand is " + name_of(x.dtype()) + " where the computation is in " + name_of(compute) +
                   "; convert one with to()");
}

// Returns x in `storage`, the type of the activations. Only bf16 and f32 are converted to each other. An undefined x is returned unchanged.
inline Tensor as_activation(const Tensor& x, DType storage, const char* op) {
  if (!x.defined() || x.dtype() == storage) return x;
  if (x.dtype() != DType::f64 && storage != DType::f64 && is_floating(x.dtype())) return x.to(storage);
  throw DTypeError(std::string(op) + ": an operand is " + name_of(x.dtype()) + " beside activations in " + name_of(storage) + "; convert one with to()");
}

// Throws ShapeError if the tangent or cotangent d has another shape than `wanted`. An undefined d is allowed: it stands for zero.
inline void check_shape(const Tensor& d, const Shape& wanted, const char* op) {
  if (d.defined() && d.shape() != wanted)
    throw ShapeError(std::string(op) + ": a tangent or cotangent of shape " + to_string(d.shape()) + " where shape " + to_string(wanted) +
                     " is expected");
}
inline void check_defined(const Tensor& x, const char* op) {
  if (!x.defined()) throw Error(std::string(op) + ": an undefined tensor was given");
}

// Throws DTypeError unless a residual stream of type `stream` may have branches of type `branch`: the same type, or bf16 with an f32 stream.
inline void check_stream(DType stream, DType branch, const char* op) {
  if (stream != branch && !(stream == DType::f32 && branch == DType::bf16))
    throw DTypeError(std::string(op) + ": a result in " + name_of(branch) + " of x in " + name_of(stream) + ": use x's type, or bf16 for x in f32");
}

// Calls f(float{}) or f(double{}).
template <class F> void with_compute_type(DType compute, F&& f) {
  if (compute == DType::f64) f(double{});
  else f(float{});
}

template <class T> const T* pointer_or_null(const Tensor& x) { return x.defined() ? x.data<T>() : nullptr; }
template <class T> T* writable_or_null(const Tensor& x) { return x.defined() ? x.data<T>() : nullptr; }

// Returns the first `rows` entries of dimension 0. An undefined x is returned unchanged.
inline Tensor head_rows(const Tensor& x, std::int64_t rows) {
  return !x.defined() || x.rank() == 0 || x.dim(0) == rows ? x : x.slice(0, 0, rows);
}

}  // namespace fm
