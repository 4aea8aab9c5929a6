// The mathematics of element-wise operations, written once: the kernels of CPU and GPU, the tests and the derivative rules
// (autodiff/rules/elementwise.h) all expand the lists at the end. To add an operation, write one struct and its entry in the list, and a sample
// range in tests/support/op_samples.h, without which the tests do not compile.
//
// A unary op gives `value(x)` and its derivative: `slope(x)`, or `slope_from_output(y)` when the output alone determines it. The choice
// decides which tensor a recorded op keeps. T is float or double in kernels and Dual<T> where the derivative of a slope is needed. If the float
// code of an op is valid for a part of the axis only, `is_far(x)` is true for the other x, which kernels evaluate in double.
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
  template <class T> FM_HD static T value(T x) { return x < T(0) ? T(0) : x; }   // a NaN is returned
  template <class T> FM_HD static T slope(T x) { return T(0) < x ? T(1) : T(0); }
};
struct Sin {                                     // y = sin x,  dy/dx = cos x
  template <class T> FM_HD static T value(T x) { return math::sin(x); }
  template <class T> FM_HD static T slope(T x) { return math::cos(x); }
  FM_HD static bool is_far(float x) { return math::is_far_angle(x); }
};
struct Cos {                                     // y = cos x,  dy/dx = -sin x
  template <class T> FM_HD static T value(T x) { return math::cos(x); }
  template <class T> FM_HD static T slope(T x) { return -math::sin(x); }
  FM_HD static bool is_far(float x) { return math::is_far_angle(x); }
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
  // Computed by 1 / (1 + e^-x), not by sigmoids(): e^x is flushed to 0 below -87, where x s is still a normal number.
  template <class T> FM_HD static T value(T x) { return x * math::sigmoid(x); }
  template <class T> FM_HD static T slope(T x) {
    const auto s = math::sigmoids(x);
    return s.sigmoid * (T(1) + x * s.rest);
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
  template <class T> FM_HD static T value(T x) { return x * math::sigmoids(twice_u(x)).sigmoid; }
  template <class T> FM_HD static T slope(T x) {
    const auto s = math::sigmoids(twice_u(x));
    return s.sigmoid + x * s.sigmoid * s.rest * T(1.5957691216057308) * (T(1) + T(3 * 0.044715) * x * x);
  }
  template <class T> FM_HD static T twice_u(T x) { return T(1.5957691216057308) * x * (T(1) + T(0.044715) * x * x); }
};

struct Add { template <class T> FM_HD static T value(T a, T b) { return a + b; } };
struct Sub { template <class T> FM_HD static T value(T a, T b) { return a - b; } };
struct Mul { template <class T> FM_HD static T value(T a, T b) { return a * b; } };
struct Div { template <class T> FM_HD static T value(T a, T b) { return a / b; } };
// A NaN on either side is returned: a clamp must not hide a diverging run.
struct Maximum { template <class T> FM_HD static T value(T a, T b) { return a < b || b != b ? b : a; } };
struct Minimum { template <class T> FM_HD static T value(T a, T b) { return b < a || b != b ? b : a; } };
struct Greater { template <class T> FM_HD static T value(T a, T b) { return b < a ? T(1) : T(0); } };   // 1 or 0, no derivative
struct Less { template <class T> FM_HD static T value(T a, T b) { return a < b ? T(1) : T(0); } };
struct Equal { template <class T> FM_HD static T value(T a, T b) { return a == b ? T(1) : T(0); } };

template <class Op> inline constexpr bool saves_output = requires(float y) { Op::slope_from_output(y); };

// y = f(x), f'(saved) and f''(x) for any x; far x are evaluated in double. These functions branch, so they serve GPUs and the few far elements
// of an array.
template <class Op, class T> inline constexpr bool has_far = std::is_same_v<T, float> && requires(float x) { Op::is_far(x); };
template <class Op, class T> FM_HD T value_anywhere(T x) {
  if constexpr (has_far<Op, T>)
    if (Op::is_far(x)) return static_cast<T>(Op::value(static_cast<double>(x)));
  return Op::value(x);
}
template <class Op, class T> FM_HD T slope_anywhere(T saved) {
  if constexpr (saves_output<Op>) return Op::slope_from_output(saved);
  else {
    if constexpr (has_far<Op, T>)
      if (Op::is_far(saved)) return static_cast<T>(Op::slope(static_cast<double>(saved)));
    return Op::slope(saved);
  }
}
template <class Op, class T> FM_HD T curvature_anywhere(T x) {
  if constexpr (has_far<Op, T>)
    if (Op::is_far(x)) return static_cast<T>(Op::slope(Dual<double>(static_cast<double>(x), 1.0)).d);
  if constexpr (saves_output<Op>) return Op::slope_from_output(Op::value(Dual<T>(x, T(1)))).d;
  else return Op::slope(Dual<T>(x, T(1))).d;
}

template <class... Ops> struct OpList {
  static constexpr int count = sizeof...(Ops);
  template <class Op> static constexpr int index() {
    static_assert((std::is_same_v<Op, Ops> || ...), "the operation is not in the list");
    int i = 0;
    (void)((std::is_same_v<Op, Ops> ? true : (++i, false)) || ...);
    return i;
  }
  template <class F> static void for_each(F&& f) { (f(Ops{}), ...); }
};

// Lists of X(struct, function), one entry for each op. The types UnaryOps and BinaryOps below are made of them.
#define FM_UNARY_OPS(X)                                                                                                        \
  X(Neg, neg) X(Exp, exp) X(Log, log) X(Sqrt, sqrt) X(Rsqrt, rsqrt) X(Square, square) X(Reciprocal, reciprocal) X(Abs, abs)    \
  X(Relu, relu) X(Sin, sin) X(Cos, cos) X(Tanh, tanh) X(Sigmoid, sigmoid) X(Silu, silu) X(Gelu, gelu) X(GeluTanh, gelu_tanh)
#define FM_BINARY_OPS(X) X(Add, add) X(Sub, sub) X(Mul, mul) X(Div, div) X(Maximum, maximum) X(Minimum, minimum)
#define FM_COMPARISONS(X) X(Greater, greater) X(Less, less) X(Equal, equal)

namespace detail {
template <class, class... Ops> struct ListedOps {
  using type = OpList<Ops...>;
};
}  // namespace detail
#define FM_LISTED_OP(Op, function) , Op
using UnaryOps = detail::ListedOps<void FM_UNARY_OPS(FM_LISTED_OP)>::type;
using BinaryOps = detail::ListedOps<void FM_BINARY_OPS(FM_LISTED_OP) FM_COMPARISONS(FM_LISTED_OP)>::type;
#undef FM_LISTED_OP

#define FM_OP_NAME(Op, function) inline const char* op_name(Op) { return #function; }
FM_UNARY_OPS(FM_OP_NAME)
FM_BINARY_OPS(FM_OP_NAME)
FM_COMPARISONS(FM_OP_NAME)
#undef FM_OP_NAME

}  // namespace fm
