// Element-wise operations on Tensors of f32, f64 and bf16 (computed in f32). Binary operations broadcast by NumPy's rule; both operands must have
// the same type.
#pragma once

#include "tensor/ops/elementwise_ops.h"
#include "tensor/tensor.h"

namespace fm {

template <class Op> Tensor map(const Tensor& x);                                          // f(x)
// Writes f(x) to `out`, which has x's shape and type: x itself, or a range of channels of a larger tensor, say. ShapeError or DTypeError otherwise.
template <class Op> void map_into(const Tensor& x, const Tensor& out);
template <class Op> Tensor map_slope(const Tensor& saved, const Tensor& g);               // f' g; `saved` is the op's x or y (saves_output)
template <class Op> void map_dual(const Tensor& x, const Tensor& dx, Tensor& y, Tensor& dy);   // y = f(x), dy = f'(x) dx, one sweep
template <class Op> Tensor map_curvature(const Tensor& x, const Tensor& dx, const Tensor& g);  // f''(x) dx g
template <class Op> Tensor zip(const Tensor& a, const Tensor& b);                         // f(a, b)

#define FM_DECLARE_UNARY(Op, function) inline Tensor function(const Tensor& x) { return map<Op>(x); }
#define FM_DECLARE_BINARY(Op, function) inline Tensor function(const Tensor& a, const Tensor& b) { return zip<Op>(a, b); }
FM_UNARY_OPS(FM_DECLARE_UNARY)
FM_BINARY_OPS(FM_DECLARE_BINARY)
FM_COMPARISONS(FM_DECLARE_BINARY)
#undef FM_DECLARE_UNARY
#undef FM_DECLARE_BINARY

inline void relu_into(const Tensor& x, const Tensor& out) { map_into<Relu>(x, out); }
Tensor affine(const Tensor& x, double scale, double shift);                               // scale x + shift
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);                  // condition != 0 ? a : b; broadcasts
Tensor clamp(const Tensor& x, double low, double high);
// y += alpha x, in place; equal shapes. x may share memory with y. ShapeError if two elements of y share memory.
void add_into(Tensor& y, const Tensor& x, double alpha = 1.0);

inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator-(const Tensor& a) { return neg(a); }
inline Tensor operator+(const Tensor& a, double b) { return affine(a, 1, b); }
inline Tensor operator+(double a, const Tensor& b) { return affine(b, 1, a); }
inline Tensor operator-(const Tensor& a, double b) { return affine(a, 1, -b); }
inline Tensor operator-(double a, const Tensor& b) { return affine(b, -1, a); }
inline Tensor operator*(const Tensor& a, double b) { return affine(a, b, 0); }
inline Tensor operator*(double a, const Tensor& b) { return affine(b, a, 0); }
inline Tensor operator/(const Tensor& a, double b) { return affine(a, 1 / b, 0); }

}  // namespace fm
