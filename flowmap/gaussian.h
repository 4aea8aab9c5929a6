// Flows that are known in closed form: the oracle that objectives and samplers are tested against.
//
// Data z0 ~ N(mu, S^2) with S diagonal. z_t ~ N((1-t) mu, a_t^2), a_t^2 = (1-t)^2 S^2 + t^2, and
//   f_{t->s}(z) = (1-s) mu + (a_s / a_t) x,     x = z - (1-t) mu
//   u(z, s, t)  = -mu + x [ (t+s) - S^2 (2-t-s) ] / ( a_t (a_t + a_s) )         ( = (z - f)/(t-s), without the 0/0 at s = t)
//   v(z, t)     = -mu + x a_t' / a_t
// Data from a mixture of Gaussians: v is the mean of the components' velocities weighted by their responsibilities at (z, t), and u comes
// from v by integration. Everything is built from Vars, so it can be differentiated like any network.
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
    double weight;
    Tensor mean, deviation;
  };
  std::vector<Component> components;

  VelocityNet v() const;
};

// The average velocity of v over [s, t] by `steps` equal Runge-Kutta steps of fourth order: exact up to their error, and fine at s = t.
FlowMapNet average_velocity(VelocityNet v, int steps);

}  // namespace fm
