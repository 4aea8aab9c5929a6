// Derivative rules of element-wise operations: one rule for all unary operations, and one for each binary operation.
//
//   unary   y = f(x)      push dy = f'(x) dx        pull gx = f'(x) gy          (the Jacobian is diagonal: one formula serves both)
//   binary  y = f(a, b)   push and pull are composed of other operations; cotangents are summed over broadcast dimensions
#pragma once

#include "autodiff/var.h"
#include "tensor/ops/elementwise.h"

namespace fm {

template <class Op> Var unary(const Var& x);

#define FM_DECLARE_UNARY(Op, function) inline Var function(const Var& x) { return unary<Op>(x); }
FM_UNARY_OPS(FM_DECLARE_UNARY)
#undef FM_DECLARE_UNARY

Var add(const Var& a, const Var& b);
Var sub(const Var& a, const Var& b);
Var mul(const Var& a, const Var& b);
Var div(const Var& a, const Var& b);
Var maximum(const Var& a, const Var& b);      // at a tie the derivative goes to b
Var minimum(const Var& a, const Var& b);
Var affine(const Var& x, double scale, double shift);
Var where(const Tensor& condition, const Var& a, const Var& b);      // no derivative through the condition
Var clamp(const Var& x, double low, double high);

inline Var operator+(const Var& a, const Var& b) { return add(a, b); }
inline Var operator-(const Var& a, const Var& b) { return sub(a, b); }
inline Var operator*(const Var& a, const Var& b) { return mul(a, b); }
inline Var operator/(const Var& a, const Var& b) { return div(a, b); }
inline Var operator-(const Var& a) { return neg(a); }
inline Var operator+(const Var& a, double b) { return affine(a, 1, b); }
inline Var operator+(double a, const Var& b) { return affine(b, 1, a); }
inline Var operator-(const Var& a, double b) { return affine(a, 1, -b); }
inline Var operator-(double a, const Var& b) { return affine(b, -1, a); }
inline Var operator*(const Var& a, double b) { return affine(a, b, 0); }
inline Var operator*(double a, const Var& b) { return affine(b, a, 0); }
inline Var operator/(const Var& a, double b) { return affine(a, 1 / b, 0); }

}  // namespace fm
