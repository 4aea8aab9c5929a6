// Flows in closed form: the references that objectives and samplers are tested against.
//
// Data z0 ~ N(mu, S^2) with S diagonal. z_t ~ N((1-t) mu, a_t^2), a_t^2 = (1-t)^2 S^2 + t^2, and
//   f_{t->s}(z) = (1-s) mu + (a_s / a_t) x,     x = z - (1-t) mu
//   u(z, s, t)  = -mu + x [ (t+s) - S^2 (2-t-s) ] / ( a_t (a_t + a_s) )         ( = (z - f)/(t-s), without the 0/0 at s = t)
//   v(z, t)     = -mu + x a_t' / a_t
// Data from a mixture of Gaussians: v is the mean of the components' velocities weighted by their responsibilities at (z, t), and u comes
// from v by integration. u, v and log_density can be differentiated like any network; the map() functions return tensors without history.
#pragma once

#include <vector>

#include "flowmap/network.h"

namespace fm {

struct GaussianFlow {
  Tensor mean, deviation;                // of the data, one row's shape, deviation > 0

  FlowMapNet u() const;
  VelocityNet v() const { return diagonal(u()); }
  Tensor map(const Tensor& z, const Tensor& s, const Tensor& t) const;         // f_{t->s}(z)
};

struct GaussianMixture {
  struct Component {
    double weight;                       // > 0; the weights need not add up to 1
    Tensor mean, deviation;              // of one row's shape and z's type, deviation > 0
  };
  std::vector<Component> components;

  // Each function throws ConfigError for a mixture without components, with a weight or a deviation that is not above 0, or with unequal shapes.
  VelocityNet v() const;
  Var log_density(const Var& z, const Var& t) const;                           // (B): log p_t(z), z (B, ...), t (B)
  // f_{t->s}(z) by `steps` equal Runge-Kutta steps of fourth order on v, in f64 for any type of z. s may be above t: the map from t = 0 to s = 1
  // encodes data as noise. 4,000 points of a mixture of 8 take about 1 s on one core.
  Tensor map(const Tensor& z, const Tensor& s, const Tensor& t, int steps = 400) const;
};

// The point set "8gaussians" of data/points.h: radius sqrt 2, deviation 0.1, in the plane.
GaussianMixture eight_gaussians(DType dtype = DType::f64);

// The average velocity of v over [s, t] by `steps` equal Runge-Kutta steps of fourth order. It is exact up to the error of these
// steps, and equals v(z, t) at s = t.
FlowMapNet average_velocity(VelocityNet v, int steps);

// Mean over rows of |f(eps) - f*(eps)|^2, where f(eps) = eps - u(eps, 0, 1) is one call of the network and f* the exact map of the whole mixture.
// The network is called with `noise` (B, ...) and the labels y; f* does not depend on labels.
double map_error(const FlowMapNet& net, const GaussianMixture& data, const Tensor& noise, const Labels& y = {});

}  // namespace fm
