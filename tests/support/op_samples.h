// Sample ranges of element-wise ops for tests, and their values by the C library in double. The tests expand UnaryOps and BinaryOps over
// these structs, so an op without an entry here does not compile.
#pragma once

#include <cmath>

#include "autodiff/check.h"
#include "tensor/ops/elementwise.h"

namespace fm {

// Points of [low, high] with |x| >= gap, because of a kink or pole at 0. The bound of |error| in f32 is 2e-6 |value| + absolute.
struct SampleRange {
  double low, high, gap = 0, absolute = 1e-37;
};

template <class Op> struct OpSample;      // an op without an entry does not compile

#define FM_UNARY_SAMPLE(Op, range, reference_expression)                        \
  template <> struct OpSample<Op> {                                             \
    static constexpr SampleRange at range;                                      \
    static double reference(double x) { return reference_expression; }          \
  };
#define FM_RANGE(...) {__VA_ARGS__}

FM_UNARY_SAMPLE(Neg, FM_RANGE(-3, 3), -x)
FM_UNARY_SAMPLE(Exp, FM_RANGE(-3, 3), std::exp(x))
FM_UNARY_SAMPLE(Log, FM_RANGE(0.2, 5), std::log(x))
FM_UNARY_SAMPLE(Sqrt, FM_RANGE(0.2, 5), std::sqrt(x))
FM_UNARY_SAMPLE(Rsqrt, FM_RANGE(0.2, 5), 1 / std::sqrt(x))
FM_UNARY_SAMPLE(Square, FM_RANGE(-3, 3), x * x)
FM_UNARY_SAMPLE(Reciprocal, FM_RANGE(-3, 3, 0.3), 1 / x)
FM_UNARY_SAMPLE(Abs, FM_RANGE(-3, 3, 0.1), std::fabs(x))
FM_UNARY_SAMPLE(Relu, FM_RANGE(-3, 3, 0.1), x < 0 ? 0 : x)
FM_UNARY_SAMPLE(Sin, FM_RANGE(-6, 6, 0, 1e-7), std::sin(x))
FM_UNARY_SAMPLE(Cos, FM_RANGE(-6, 6, 0, 1e-7), std::cos(x))
FM_UNARY_SAMPLE(Tanh, FM_RANGE(-3, 3), std::tanh(x))
FM_UNARY_SAMPLE(Sigmoid, FM_RANGE(-6, 6), 1 / (1 + std::exp(-x)))
FM_UNARY_SAMPLE(Silu, FM_RANGE(-6, 6), x / (1 + std::exp(-x)))
FM_UNARY_SAMPLE(Gelu, FM_RANGE(-4, 4, 0, 1e-6), 0.5 * x * std::erfc(-x / std::sqrt(2.0)))
FM_UNARY_SAMPLE(GeluTanh, FM_RANGE(-4, 4, 0, 1e-6), 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))))

#define FM_BINARY_SAMPLE(Op, range, reference_expression)                                  \
  template <> struct OpSample<Op> {                                                        \
    static constexpr SampleRange at range;                                                 \
    static double reference(double a, double b) { return reference_expression; }           \
  };

FM_BINARY_SAMPLE(Add, FM_RANGE(-2, 2, 0, 1e-6), a + b)
FM_BINARY_SAMPLE(Sub, FM_RANGE(-2, 2, 0, 1e-6), a - b)
FM_BINARY_SAMPLE(Mul, FM_RANGE(-2, 2), a * b)
FM_BINARY_SAMPLE(Div, FM_RANGE(-2, 2, 0.4), a / b)
FM_BINARY_SAMPLE(Maximum, FM_RANGE(-2, 2), std::isnan(a) || std::isnan(b) ? NAN : std::fmax(a, b))
FM_BINARY_SAMPLE(Minimum, FM_RANGE(-2, 2), std::isnan(a) || std::isnan(b) ? NAN : std::fmin(a, b))
FM_BINARY_SAMPLE(Greater, FM_RANGE(-2, 2), a > b ? 1 : 0)
FM_BINARY_SAMPLE(Less, FM_RANGE(-2, 2), a < b ? 1 : 0)
FM_BINARY_SAMPLE(Equal, FM_RANGE(-2, 2), a == b ? 1 : 0)

template <class Op> Tensor sample_for(const Shape& shape, std::uint64_t seed, DType dtype = DType::f64) {
  constexpr SampleRange r = OpSample<Op>::at;
  const Tensor x = sample_uniform(shape, r.low, r.high, seed).to(Device{});
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    double& v = x.data<double>()[i];
    if (std::fabs(v) < r.gap) v = v < 0 ? v - r.gap : v + r.gap;
  }
  return x.to(dtype).to(default_device());
}

}  // namespace fm
