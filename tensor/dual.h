// Dual numbers: v + d e with e^2 = 0. A function written on a template scalar T and called with Dual<T> carries its directional derivative
// along (forward mode): f(v + d e) = f(v) + f'(v) d e. tensor/math.h has exp, log, ... for them.
#pragma once

#include "tensor/hd.h"

namespace fm {

template <class T>
struct Dual {
  T v{};  // value
  T d{};  // tangent

  constexpr Dual() = default;
  FM_HD constexpr Dual(T value, T tangent = T(0)) : v(value), d(tangent) {}

  FM_HD friend Dual operator+(Dual a) { return a; }
  FM_HD friend Dual operator-(Dual a) { return {-a.v, -a.d}; }
  FM_HD friend Dual operator+(Dual a, Dual b) { return {a.v + b.v, a.d + b.d}; }
  FM_HD friend Dual operator-(Dual a, Dual b) { return {a.v - b.v, a.d - b.d}; }
  FM_HD friend Dual operator*(Dual a, Dual b) { return {a.v * b.v, a.d * b.v + a.v * b.d}; }
  FM_HD friend Dual operator/(Dual a, Dual b) {
    const T q = a.v / b.v;
    return {q, (a.d - q * b.d) / b.v};
  }
  FM_HD Dual& operator+=(Dual b) { return *this = *this + b; }
  FM_HD Dual& operator-=(Dual b) { return *this = *this - b; }
  FM_HD Dual& operator*=(Dual b) { return *this = *this * b; }
  FM_HD Dual& operator/=(Dual b) { return *this = *this / b; }

  // Comparisons use the value only: a function is differentiated on the side where its argument lies.
  FM_HD friend bool operator<(Dual a, Dual b) { return a.v < b.v; }
  FM_HD friend bool operator>(Dual a, Dual b) { return a.v > b.v; }
  FM_HD friend bool operator<=(Dual a, Dual b) { return a.v <= b.v; }
  FM_HD friend bool operator>=(Dual a, Dual b) { return a.v >= b.v; }
  FM_HD friend bool operator==(Dual a, Dual b) { return a.v == b.v; }
  FM_HD friend bool operator!=(Dual a, Dual b) { return a.v != b.v; }
};

}  // namespace fm
