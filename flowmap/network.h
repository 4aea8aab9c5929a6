// What a network is to this layer: a function. Models, closed forms and tests all fit; nothing here knows of layers.
//
// Convention everywhere: z_t = (1-t) z0 + t eps, t = 0 data, t = 1 noise, 0 <= s <= t <= 1.
//   u(z, s, t, y)   average velocity over [s, t];   flow map  f_{t->s}(z) = z - (t-s) u(z, s, t)
//   v(z, t, y)      velocity, v(z, t) = u(z, t, t)
// Shapes: z (B, ...), s and t (B), y (B) class numbers or undefined. s and t have z's dtype.
#pragma once

#include <functional>

#include "autodiff/var.h"

namespace fm {

using Labels = Tensor;                                                                                  // i64 (B); undefined: no condition

using FlowMapNet = std::function<Var(const Var& z, const Var& s, const Var& t, const Labels& y)>;       // u
using VelocityNet = std::function<Var(const Var& z, const Var& t, const Labels& y)>;                    // v

// The velocity that an average-velocity network holds: v(z, t) = u(z, t, t).
inline VelocityNet diagonal(FlowMapNet u) {
  return [u = std::move(u)](const Var& z, const Var& t, const Labels& y) { return u(z, t, t, y); };
}

// Values without history: teacher, EMA, guidance and finite differences.
inline Tensor evaluate(const VelocityNet& v, const Tensor& z, const Tensor& t, const Labels& y) {
  const PauseTape pause;
  return v(z, t, y).value();
}
inline Tensor evaluate(const FlowMapNet& u, const Tensor& z, const Tensor& s, const Tensor& t, const Labels& y) {
  const PauseTape pause;
  return u(z, s, t, y).value();
}

}  // namespace fm
