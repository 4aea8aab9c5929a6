// Elementary functions for kernels, on float, double and Dual of both. The float versions are straight-line code (range reduction and a
// polynomial, selects instead of branches), so loops over them vectorize. Their error is about 2 ulp; at 0, +-inf and NaN they are exact unless
// noted. The double versions are the C library's and serve the reference path. The polynomials are our own minimax fits (Lawson iteration in
// double, rounded to float). Each is written as the correction to the leading terms of the series, so that rounding of the coefficients costs little.
//
// Call them qualified, `math::exp(x)`; a body templated on its scalar then works for all four types.
#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/dual.h"

namespace fm::math {

namespace detail {

FM_HD std::int32_t bits(float x) { return __builtin_bit_cast(std::int32_t, x); }
FM_HD std::int64_t bits(double x) { return __builtin_bit_cast(std::int64_t, x); }
FM_HD float from_bits(std::int32_t x) { return __builtin_bit_cast(float, x); }

// min and max that return x if it is NaN.
FM_HD float at_most(float x, float hi) { return x > hi ? hi : x; }
FM_HD float at_least(float x, float lo) { return x < lo ? lo : x; }

template <class... C> FM_HD float poly(float x, float c0, C... c) {  // c0 + c1 x + c2 x^2 + ...
  if constexpr (sizeof...(C) == 0) return c0;
  else return c0 + x * poly(x, c...);
}

// Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits of the sum (|x| < 2^22).
constexpr float round_magic = 12582912.0f;

// e^x = 2^n e^r with |r| <= ln(2)/2; returns e^r and sets n. The first part of ln 2 has 10 bits, so n * part is exact.
FM_HD float exp_reduced(float x, std::int32_t& n) {
  const float shifted = x * 1.44269504f + round_magic;
  const float k = shifted - round_magic;
  n = bits(shifted) - bits(round_magic);
  const float r = (x - k * 0.693359375f) - k * -2.12194440e-4f;
  const float p = poly(r, 4.999999404e-01f, 1.666651517e-01f, 4.166845605e-02f, 8.369418792e-03f, 1.381314476e-03f);
  return 1.0f + (r + r * r * p);
}

// e^x for -87 <= x <= 88, where 2^n is one normal number; the caller clamps.
FM_HD float exp_normal(float x) {
  std::int32_t n;
  const float p = exp_reduced(x, n);
  return p * from_bits((n + 127) << 23);
}

}  // namespace detail

// ---- float ----------------------------------------------------------------------------------------------------------------------------

// 2^n is applied as two factors, so that overflow to inf and gradual underflow are correct.
FM_HD float exp(float x) {
  std::int32_t n;
  const float p = detail::exp_reduced(detail::at_most(detail::at_least(x, -104.0f), 89.0f), n);
  const std::int32_t half = n >> 1;
  return p * detail::from_bits((half + 127) << 23) * detail::from_bits((n - half + 127) << 23);
}

// e^x for x <= 88, meant for x <= 0: exp without correct overflow and underflow. Results below 2^-126 are zero, because
// the exponent bits of 2^-127 are 0.
FM_HD float exp_nonpositive(float x) { return detail::exp_normal(detail::at_least(x, -88.0f)); }

// 2^x for x <= 127, meant for x <= 0, to 2.5 ulp in few instructions: computes the weights of softmax. Results below 2^-126 are zero,
// because their exponent bits are 0. The magic constant includes the exponent's bias.
FM_HD float exp2_nonpositive(float x) {
  constexpr float magic = detail::round_magic + 127.0f;
  const float t = detail::at_least(x, -127.0f), shifted = t + magic;
  const float r = t - (shifted - magic);
  const float p = detail::poly(r, 6.931470037e-01f, 2.402224243e-01f, 5.550733581e-02f, 9.671512991e-03f, 1.326472731e-03f);
  return (1.0f + r * p) * detail::from_bits(detail::bits(shifted) << 23);
}

// x = 2^e m with m in [sqrt(1/2), sqrt(2)): log x = e ln 2 + log m, log(1+f) = f - f^2/2 + f^3 P(f).
FM_HD float log(float x) {
  const bool tiny = x < 1.17549435e-38f;                       // subnormals: scale up by 2^25 first
  const std::int32_t ix = detail::bits(tiny ? x * 33554432.0f : x);
  // Also evaluated for negative x and NaN, whose results are replaced below: differences wrap, hence unsigned.
  const std::int32_t e = static_cast<std::int32_t>(static_cast<std::uint32_t>(ix) - 0x3f3504f3u) >> 23;
  const float f = detail::from_bits(static_cast<std::int32_t>(static_cast<std::uint32_t>(ix) - (static_cast<std::uint32_t>(e) << 23))) - 1.0f;
  const float k = static_cast<float>(e) - (tiny ? 25.0f : 0.0f);
  const float p = detail::poly(f, 3.333331048e-01f, -2.500000894e-01f, 2.000219375e-01f, -1.666805148e-01f, 1.421789974e-01f,
                               -1.240330413e-01f, 1.189900935e-01f, -1.169572547e-01f, 6.746470183e-02f);
  const float f2 = f * f;
  const float tail = (f2 * f * p + k * -2.12194440e-4f) - 0.5f * f2;
  float y = (f + tail) + k * 0.693359375f;
  y = x < __builtin_inff() ? y : x;                            // log of inf is inf, of NaN is NaN
  y = x == 0.0f ? -__builtin_inff() : y;
  return x < 0.0f ? __builtin_nanf("") : y;
}

// x + x^3 P(x^2) near zero, 1 - 2 / (e^2x + 1) elsewhere.
FM_HD float tanh(float x) {
  const float t = __builtin_fabsf(x), s = x * x;
  const float near = x + x * s * detail::poly(s, -3.333333135e-01f, 1.333317608e-01f, -5.394285545e-02f, 2.167898789e-02f,
                                              -8.123099804e-03f, 2.092841081e-03f);
  const float far = 1.0f - 2.0f / (detail::exp_normal(2.0f * detail::at_most(t, 10.0f)) + 1.0f);
  return t < 0.625f ? near : __builtin_copysignf(far, x);
}

// x + x P(x^2) near zero; elsewhere 1 - erfc(t) with log erfc(t) = t P(t) - t.
FM_HD float erf(float x) {
  const float t = detail::at_most(__builtin_fabsf(x), 4.0f), s = t * t;
  const float near = x + x * detail::poly(s, 1.283791661e-01f, -3.761263192e-01f, 1.128368750e-01f, -2.685894072e-02f, 5.199906416e-03f,
                                          -8.130011847e-04f, 8.316771709e-05f);
  const float p = detail::poly(t, -1.286484897e-01f, -6.351513267e-01f, -1.062368751e-01f, 2.376206033e-02f, -3.642458003e-03f,
                               3.228035930e-04f, -1.123127913e-05f);
  const float far = 1.0f - detail::exp_normal(t * p - t);
  return t < 0.921875f ? near : __builtin_copysignf(far, x);
}

FM_HD float sigmoid(float x) { return 1.0f / (1.0f + exp(-x)); }
FM_HD float sqrt(float x) { return __builtin_sqrtf(x); }
FM_HD float rsqrt(float x) { return 1.0f / __builtin_sqrtf(x); }

namespace detail {

// sin(x + quarter * pi/2) for |x| <= farthest_angle: up to there the product of k, a number of quarter turns, with the first part of pi/2, which has
// 33 bits, is exact.
FM_HD float sin_shifted(float x, std::int64_t quarter) {
  constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52
  const double xd = x;
  const double shifted = xd * 0.63661977236758134308 + magic;
  const double k = shifted - magic;
  const std::int32_t n = static_cast<std::int32_t>(bits(shifted) + quarter);
  const float r = static_cast<float>((xd - k * 1.57079632673412561417) - k * 6.07710050650619224932e-11);
  const float s = r * r;
  const float sine = r + r * s * poly(s, -1.666666716e-01f, 8.333329111e-03f, -1.983927214e-04f, 2.717745019e-06f);
  const float cosine = (1.0f - 0.5f * s) + s * s * poly(s, 4.166664556e-02f, -1.388728386e-03f, 2.442942969e-05f);
  const float y = (n & 1) ? cosine : sine;
  return from_bits(bits(y) ^ ((n & 2) << 30));
}

}  // namespace detail

// Straight-line code for |x| <= farthest_angle, which is 2^20. Sin and Cos (ops/elementwise_ops.h) evaluate arguments beyond it, infinities
// and NaN in double, where the C library reduces exactly: a loop that vectorizes cannot afford that for every element.
constexpr float farthest_angle = 1048576.0f;
FM_HD bool is_far_angle(float x) { return !(__builtin_fabsf(x) <= farthest_angle); }
FM_HD float sin(float x) { return detail::sin_shifted(x, 0); }
FM_HD float cos(float x) { return detail::sin_shifted(x, 1); }

// ---- double ---------------------------------------------------------------------------------------------------------------------------

FM_HD double exp(double x) { return ::exp(x); }
FM_HD double exp_nonpositive(double x) { return ::exp(x); }
FM_HD double exp2_nonpositive(double x) { return ::exp2(x); }
FM_HD double log(double x) { return ::log(x); }
FM_HD double tanh(double x) { return ::tanh(x); }
FM_HD double erf(double x) { return ::erf(x); }
FM_HD double sigmoid(double x) { return 1.0 / (1.0 + ::exp(-x)); }
FM_HD double sqrt(double x) { return ::sqrt(x); }
FM_HD double rsqrt(double x) { return 1.0 / ::sqrt(x); }
FM_HD double sin(double x) { return ::sin(x); }
FM_HD double cos(double x) { return ::cos(x); }

// ---- Dual: the value, and the slope times the tangent -----------------------------------------------------------------------------------

template <class T> FM_HD Dual<T> exp(Dual<T> x) {
  const T y = exp(x.v);
  return {y, y * x.d};
}
template <class T> FM_HD Dual<T> exp_nonpositive(Dual<T> x) {
  const T y = exp_nonpositive(x.v);
  return {y, y * x.d};
}
template <class T> FM_HD Dual<T> log(Dual<T> x) { return {log(x.v), x.d / x.v}; }
template <class T> FM_HD Dual<T> tanh(Dual<T> x) {
  const T y = tanh(x.v);
  return {y, (T(1) - y * y) * x.d};
}
template <class T> FM_HD Dual<T> erf(Dual<T> x) { return {erf(x.v), T(1.1283791670955126) * exp(-x.v * x.v) * x.d}; }  // 2 / sqrt(pi)
template <class T> FM_HD Dual<T> sigmoid(Dual<T> x) {
  const T y = sigmoid(x.v);
  return {y, y * (T(1) - y) * x.d};
}
template <class T> FM_HD Dual<T> sqrt(Dual<T> x) {
  const T y = sqrt(x.v);
  return {y, T(0.5) * x.d / y};
}
template <class T> FM_HD Dual<T> rsqrt(Dual<T> x) {
  const T y = rsqrt(x.v);
  return {y, T(-0.5) * y / x.v * x.d};
}
template <class T> FM_HD Dual<T> sin(Dual<T> x) { return {sin(x.v), cos(x.v) * x.d}; }
template <class T> FM_HD Dual<T> cos(Dual<T> x) { return {cos(x.v), -sin(x.v) * x.d}; }

// ---- selections: a NaN in the first argument is returned; Dual takes the side of the larger (smaller) value -----------------------------

template <class T> FM_HD T max(T a, T b) { return a < b ? b : a; }
template <class T> FM_HD T min(T a, T b) { return a > b ? b : a; }

// sigmoid = sigmoid(x) and rest = 1 - sigmoid(x), computed as e^-x sigmoid(x): the difference would lose the digits that slopes need where
// the sigmoid is near 1.
template <class T> struct Sigmoids {
  T sigmoid, rest;
};
template <class T> FM_HD Sigmoids<T> sigmoids(T x) {
  const T e = exp_nonpositive(x < T(0) ? x : -x), large = T(1) / (T(1) + e), small = e * large;
  return {x < T(0) ? small : large, x < T(0) ? large : small};
}

}  // namespace fm::math
