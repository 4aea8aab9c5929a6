// The mathematics of element-wise operations, once: the CPU kernels, the tests and the derivative rules (autodiff/rules/elementwise.h) all
// expand the lists at the end. To add an operation write one struct and its line in the list (and a sample range in
// tests/support/op_samples.h, without which the tests do not compile).
//
// A unary op gives `value(x)` and its derivative: `slope(x)`, or `slope_from_output(y)` when the output alone determines it. The choice says
// which tensor a recorded op keeps. T is float or double in kernels and Dual<T> where the derivative of a slope is needed.
#pragma once

#include <type_traits>

#include "tensor/math.h"

namespace fm {

struct Neg {                                     // y = -x,  dy/dx = -1
  template <class T> FM_HD static T value(T x) { return -x; }
  template <class T> FM_HD static T slope(T) { return T(-1); }
};
struct Exp {                                     // y = e^x,  dy/dx = y
  template <class T> FM_HD static T value(T x) { return math::exp(x); }
  template <class T> FM_HD static T slope_from_output(T y) { return y; }
};
struct Log {                                     // y = ln x,  dy/dx = 1/x
  template <class T> FM_HD static T value(T x) { return math::log(x); }
  template <class T> FM_HD static T slope(T x) { return T(1) / x; }
};
struct Sqrt {                                    // y = x^(1/2),  dy/dx = 1/(2y)
  template <class T> FM_HD static T value(T x) { return math::sqrt(x); }
  template <class T> FM_HD static T slope_from_output(T y) { return T(0.5) / y; }
};
struct Rsqrt {                                   // y = x^(-1/2),  dy/dx = -y^3/2
  template <class T> FM_HD static T value(T x) { return T(1) / math::sqrt(x); }
  template <class T> FM_HD static T slope_from_output(T y) { return T(-0.5) * y * y * y; }
};
struct Square {                                  // y = x^2,  dy/dx = 2x
  template <class T> FM_HD static T value(T x) { return x * x; }
  template <class T> FM_HD static T slope(T x) { return x + x; }
};
struct Reciprocal {                              // y = 1/x,  dy/dx = -y^2
  template <class T> FM_HD static T value(T x) { return T(1) / x; }
  template <class T> FM_HD static T slope_from_output(T y) { return -(y * y); }
};
struct Abs {                                     // y = |x|,  dy/dx = sign x (0 at 0)
  template <class T> FM_HD static T value(T x) { return x < T(0) ? -x : x; }
  template <class T> FM_HD static T slope(T x) { return x < T(0) ? T(-1) : (T(0) < x ? T(1) : T(0)); }
};
struct Relu {                                    // y = max(x, 0),  dy/dx = [x > 0]
  template <class T> FM_HD static T value(T x) { return x < T(0) ? T(0) : x; }   // a NaN stays
  template <class T> FM_HD static T slope(T x) { return T(0) < x ? T(1) : T(0); }
};
struct Sin {                                     // y = sin x,  dy/dx = cos x
  template <class T> FM_HD static T value(T x) { return math::sin(x); }
  template <class T> FM_HD static T slope(T x) { return math::cos(x); }
};
struct Cos {                                     // y = cos x,  dy/dx = -sin x
  template <class T> FM_HD static T value(T x) { return math::cos(x); }
  template <class T> FM_HD static T slope(T x) { return -math::sin(x); }
};
struct Tanh {                                    // y = tanh x,  dy/dx = 1 - y^2
  template <class T> FM_HD static T value(T x) { return math::tanh(x); }
  template <class T> FM_HD static T slope_from_output(T y) { return T(1) - y * y; }
};
struct Sigmoid {                                 // y = 1/(1 + e^-x),  dy/dx = y(1 - y)
  template <class T> FM_HD static T value(T x) { return math::sigmoid(x); }
  template <class T> FM_HD static T slope_from_output(T y) { return y * (T(1) - y); }
};
struct Silu {                                    // y = x s, s = sigmoid x,  dy/dx = s(1 + x(1 - s))
  template <class T> FM_HD static T value(T x) { return x * math::sigmoid(x); }
  template <class T> FM_HD static T slope(T x) {
    const T s = math::sigmoid(x);
    return s * (T(1) + x * (T(1) - s));
  }
};
struct Gelu {                                    // y = x Phi(x), Phi the normal distribution function,  dy/dx = Phi(x) + x phi(x)
  template <class T> FM_HD static T value(T x) { return x * phi_integral(x); }
  template <class T> FM_HD static T slope(T x) {
    return phi_integral(x) + x * T(0.3989422804014327) * math::exp(T(-0.5) * x * x);
  }
  template <class T> FM_HD static T phi_integral(T x) { return T(0.5) * (T(1) + math::erf(x * T(0.7071067811865476))); }
};
struct GeluTanh {                                // y = x s(2u), u = sqrt(2/pi)(x + 0.044715 x^3): the tanh form of GELU
  template <class T> FM_HD static T value(T x) { return x * math::sigmoid(twice_u(x)); }
  template <class T> FM_HD static T slope(T x) {
    const T s = math::sigmoid(twice_u(x));
    return s + x * s * (T(1) - s) * T(1.5957691216057308) * (T(1) + T(3 * 0.044715) * x * x);
  }
  template <class T> FM_HD static T twice_u(T x) { return T(1.5957691216057308) * x * (T(1) + T(0.044715) * x * x); }
};

struct Add { template <class T> FM_HD static T value(T a, T b) { return a + b; } };
struct Sub { template <class T> FM_HD static T value(T a, T b) { return a - b; } };
struct Mul { template <class T> FM_HD static T value(T a, T b) { return a * b; } };
struct Div { template <class T> FM_HD static T value(T a, T b) { return a / b; } };
// A NaN on either side comes through: a clamp must not hide that a run diverges.
struct Maximum { template <class T> FM_HD static T value(T a, T b) { return a < b || b != b ? b : a; } };
struct Minimum { template <class T> FM_HD static T value(T a, T b) { return b < a || b != b ? b : a; } };
struct Greater { template <class T> FM_HD static T value(T a, T b) { return b < a ? T(1) : T(0); } };   // 1 or 0, no derivative
struct Less { template <class T> FM_HD static T value(T a, T b) { return a < b ? T(1) : T(0); } };
struct Equal { template <class T> FM_HD static T value(T a, T b) { return a == b ? T(1) : T(0); } };

template <class Op> inline constexpr bool saves_output = requires(float y) { Op::slope_from_output(y); };

template <class... Ops> struct OpList {
  static constexpr int count = sizeof...(Ops);
  template <class Op> static constexpr int index() {
    int i = 0;
    (void)((std::is_same_v<Op, Ops> ? true : (++i, false)) || ...);
    return i;
  }
  template <class F> static void for_each(F&& f) { (f(Ops{}), ...); }
};

// FM_UNARY_OPS(X): X(struct, function). The one other line that an op needs.
#define FM_UNARY_OPS(X)                                                                                                        \
  X(Neg, neg) X(Exp, exp) X(Log, log) X(Sqrt, sqrt) X(Rsqrt, rsqrt) X(Square, square) X(Reciprocal, reciprocal) X(Abs, abs)    \
  X(Relu, relu) X(Sin, sin) X(Cos, cos) X(Tanh, tanh) X(Sigmoid, sigmoid) X(Silu, silu) X(Gelu, gelu) X(GeluTanh, gelu_tanh)
#define FM_BINARY_OPS(X) X(Add, add) X(Sub, sub) X(Mul, mul) X(Div, div) X(Maximum, maximum) X(Minimum, minimum)
#define FM_COMPARISONS(X) X(Greater, greater) X(Less, less) X(Equal, equal)

using UnaryOps = OpList<Neg, Exp, Log, Sqrt, Rsqrt, Square, Reciprocal, Abs, Relu, Sin, Cos, Tanh, Sigmoid, Silu, Gelu, GeluTanh>;
using BinaryOps = OpList<Add, Sub, Mul, Div, Maximum, Minimum, Greater, Less, Equal>;

#define FM_OP_NAME(Op, function) inline const char* op_name(Op) { return #function; }
FM_UNARY_OPS(FM_OP_NAME)
FM_BINARY_OPS(FM_OP_NAME)
FM_COMPARISONS(FM_OP_NAME)
#undef FM_OP_NAME

}  // namespace fm
