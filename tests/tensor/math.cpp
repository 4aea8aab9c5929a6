// Elementary functions: float against the C library in double, in units of the last place, over ranges and at special values; Dual against
// closed-form slopes.
#include "tensor/math.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

using namespace fm;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();
const float nan_f = std::numeric_limits<float>::quiet_NaN();

double ulp_at(double y) {  // spacing of floats at y
  const int e = std::max(std::ilogb(y == 0 ? 1e-300 : y), -126);
  return std::ldexp(1.0, e - 23);
}

// Largest error in ulp over n points of [lo, hi], evenly spaced, in a loop that may vectorize.
template <class F, class R>
double worst(F f, R reference, double lo, double hi, int n = 200001) {
  std::vector<float> x(n), y(n);
  for (int i = 0; i < n; ++i) x[i] = static_cast<float>(lo + (hi - lo) * i / (n - 1));
#pragma omp simd
  for (int i = 0; i < n; ++i) y[i] = f(x[i]);
  double worst_ulp = 0;
  for (int i = 0; i < n; ++i) {
    const double want = reference(static_cast<double>(x[i]));
    const double err = std::fabs(y[i] - want) / ulp_at(want);
    if (!(err <= worst_ulp)) worst_ulp = err;
  }
  return worst_ulp;
}

// Returns the larger of the relative errors of value and slope that a Dual gives, against the closed forms.
template <class T, class F>
double slope_error(F f, double x, double value, double slope) {
  const Dual<T> y = f(Dual<T>(T(x), T(1.5)));
  const double dv = std::fabs(y.v - value) / (1 + std::fabs(value)), dd = std::fabs(y.d - 1.5 * slope) / (1 + std::fabs(slope));
  return std::max(dv, dd);
}

template <class T>
void check_dual(double tol) {
  for (double x : {0.1, 0.5, 0.9, 1.3, 2.7, 4.2}) {
    CAPTURE(x);
    const double s = 1 / (1 + std::exp(-x)), t = std::tanh(x);
    CHECK(slope_error<T>([](auto a) { return math::exp(a); }, x, std::exp(x), std::exp(x)) < tol);
    CHECK(slope_error<T>([](auto a) { return math::log(a); }, x, std::log(x), 1 / x) < tol);
    CHECK(slope_error<T>([](auto a) { return math::tanh(a); }, x, t, 1 - t * t) < tol);
    CHECK(slope_error<T>([](auto a) { return math::erf(a); }, x, std::erf(x), 2 / std::sqrt(M_PI) * std::exp(-x * x)) < tol);
    CHECK(slope_error<T>([](auto a) { return math::sigmoid(a); }, x, s, s * (1 - s)) < tol);
    CHECK(slope_error<T>([](auto a) { return math::sqrt(a); }, x, std::sqrt(x), 0.5 / std::sqrt(x)) < tol);
    CHECK(slope_error<T>([](auto a) { return math::rsqrt(a); }, x, 1 / std::sqrt(x), -0.5 * std::pow(x, -1.5)) < tol);
    CHECK(slope_error<T>([](auto a) { return math::sin(a); }, x, std::sin(x), std::cos(x)) < tol);
    CHECK(slope_error<T>([](auto a) { return math::cos(a); }, x, std::cos(x), -std::sin(x)) < tol);
    CHECK(slope_error<T>([](auto a) { return (a * a - T(3)) / (T(2) + a) + T(1) - a; }, x, (x * x - 3) / (2 + x) + 1 - x,
                         (2 * x * (2 + x) - (x * x - 3)) / ((2 + x) * (2 + x)) - 1) < tol);
    CHECK(slope_error<T>([](auto a) { return math::max(a * a, a); }, x, std::max(x * x, x), x > 1 ? 2 * x : 1) < tol);
    CHECK(slope_error<T>([](auto a) { return math::min(a * a, a); }, x, std::min(x * x, x), x > 1 ? 1 : 2 * x) < tol);
  }
}

}  // namespace

TEST_CASE("float math functions are accurate to 2.5 ulps") {
  const auto e = [](float x) { return math::exp(x); };
  const auto exp_d = [](double x) { return std::exp(x); };
  CHECK(worst(e, exp_d, -87, 88.7) < 1.5);
  CHECK(worst(e, exp_d, -1, 1) < 1.5);
  CHECK(worst(e, exp_d, -110, -87) < 1.5);  // gradual underflow
  CHECK(worst([](float x) { return math::exp_nonpositive(x); }, exp_d, -87.3, 0) < 1.5);
  const auto e2 = [](float x) { return math::exp2_nonpositive(x); };
  const auto exp2_d = [](double x) { return std::exp2(x); };
  CHECK(worst(e2, exp2_d, -126, 0) < 2.5);
  CHECK(worst(e2, exp2_d, -2, 1) < 2.5);
  const auto l = [](float x) { return math::log(x); };
  const auto log_d = [](double x) { return std::log(x); };
  CHECK(worst(l, log_d, 0.5, 2) < 2);
  CHECK(worst(l, log_d, 1e-3, 1e3) < 2);
  CHECK(worst(l, log_d, 1e3, 3e38) < 2);
  CHECK(worst(l, log_d, 1e-45, 1e-37) < 2);
  const auto t = [](float x) { return math::tanh(x); };
  const auto tanh_d = [](double x) { return std::tanh(x); };
  CHECK(worst(t, tanh_d, -10, 10) < 2);
  CHECK(worst(t, tanh_d, -0.7, 0.7) < 2);
  CHECK(worst(t, tanh_d, -1e-20, 1e-20) < 2);
  const auto r = [](float x) { return math::erf(x); };
  const auto erf_d = [](double x) { return std::erf(x); };
  CHECK(worst(r, erf_d, -5, 5) < 2);
  CHECK(worst(r, erf_d, -1, 1) < 2);
  CHECK(worst(r, erf_d, -1e-20, 1e-20) < 2);
  const auto sigmoid_d = [](double x) { return 1 / (1 + std::exp(-x)); };
  CHECK(worst([](float x) { return math::sigmoid(x); }, sigmoid_d, -80, 80) < 2.5);
  const auto s = [](float x) { return math::sin(x); };
  const auto sin_d = [](double x) { return std::sin(x); };
  const auto c = [](float x) { return math::cos(x); };
  const auto cos_d = [](double x) { return std::cos(x); };
  for (double range : {1.0, 10.0, 1e4, 1e6}) {
    CAPTURE(range);
    CHECK(worst(s, sin_d, -range, range) < 2);
    CHECK(worst(c, cos_d, -range, range) < 2);
  }
  CHECK(worst([](float x) { return math::rsqrt(x); }, [](double x) { return 1 / std::sqrt(x); }, 1e-3, 1e3) < 1.6);
}

TEST_CASE("math functions of infinities, NaN and other special values") {
  CHECK(math::exp(inf) == inf);
  CHECK(math::exp(-inf) == 0.0f);
  CHECK(math::exp(0.0f) == 1.0f);
  CHECK(math::exp(1e30f) == inf);
  CHECK(math::exp(-1e30f) == 0.0f);
  CHECK(math::exp(88.72f) < inf);
  CHECK(math::exp(88.73f) == inf);
  CHECK(math::exp_nonpositive(0.0f) == 1.0f);
  CHECK(math::exp_nonpositive(-88.0f) == 0.0f);
  CHECK(math::exp_nonpositive(-inf) == 0.0f);
  CHECK(std::isnan(math::exp_nonpositive(nan_f)));
  CHECK(math::exp2_nonpositive(0.0f) == 1.0f);
  CHECK(math::exp2_nonpositive(-127.5f) == 0.0f);
  CHECK(math::exp2_nonpositive(-1e30f) == 0.0f);
  CHECK(math::exp2_nonpositive(-inf) == 0.0f);
  CHECK(std::isnan(math::exp2_nonpositive(nan_f)));
  CHECK(math::log(0.0f) == -inf);
  CHECK(math::log(1.0f) == 0.0f);
  CHECK(math::log(inf) == inf);
  CHECK(std::isnan(math::log(-1.0f)));
  CHECK(math::tanh(inf) == 1.0f);
  CHECK(math::tanh(-inf) == -1.0f);
  CHECK(math::tanh(-1e30f) == -1.0f);
  CHECK(math::tanh(0.0f) == 0.0f);
  CHECK(math::erf(inf) == 1.0f);
  CHECK(math::erf(-inf) == -1.0f);
  CHECK(math::erf(-0.0f) == 0.0f);
  CHECK(math::sigmoid(inf) == 1.0f);
  CHECK(math::sigmoid(-inf) == 0.0f);
  CHECK(math::sigmoid(-1e30f) == 0.0f);
  CHECK(math::sigmoid(0.0f) == 0.5f);
  CHECK(math::sin(0.0f) == 0.0f);
  CHECK(math::cos(0.0f) == 1.0f);
  CHECK(std::isnan(math::sin(inf)));
  CHECK(std::isnan(math::cos(-inf)));
  for (float y : {math::exp(nan_f), math::log(nan_f), math::tanh(nan_f), math::erf(nan_f), math::sigmoid(nan_f),
                  math::sin(nan_f), math::cos(nan_f), math::sqrt(nan_f), math::rsqrt(nan_f), math::max(nan_f, 1.0f)})
    CHECK(std::isnan(y));
}

TEST_CASE("the derivative of a Dual equals the closed form") {
  check_dual<float>(2e-6);
  check_dual<double>(1e-14);
}

TEST_CASE("Dual compares by value and converts from plain numbers") {
  const Dual<float> a(2.0f, 7.0f);
  CHECK(a == 2.0f);
  CHECK(a < Dual<float>(3.0f));
  Dual<float> b = a;
  b *= 2.0f;
  b += a;
  CHECK(b.v == 6.0f);
  CHECK(b.d == 21.0f);
}
