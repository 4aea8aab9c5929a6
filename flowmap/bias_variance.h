// Bias and variance of the velocity in a MeanFlow target: the two terms of MF-RAE's Proposition 3.1, measured on a batch.
//
//   w_l = (1-l) vh + l v_phi,      vh = eps - z0,   v_phi a teacher's velocity,   target(w) = w - (t-s) D_w h,   D_w h = (dh/dz) w + dh/dt
//   E | h - target(w_l) |^2  =  E | h - (h* + B + l A (v_phi - v)) |^2  +  (1-l)^2 E | A (vh - v) |^2
//   A = I - (t-s) dh/dz,         B = target(v) - h*,       h* = (1 / (t-s)) int_s^t v
//
// h is the network, which makes its own targets; v is the velocity of the flow. The first term on the right is learned: it moves the fixed point away
// from the flow map by B, the network's own error, and by l A (v_phi - v), the teacher's error. The second term is the variance of the target's noise.
// The noise has mean 0, and at fixed h no training lowers its variance. All terms are means over rows and elements.
#pragma once

#include "flowmap/batch.h"
#include "flowmap/network.h"

namespace fm {

struct BiasVariance {
  double noise = 0;                      // E |A (vh - v)|^2:    the variance at l = 0
  double teacher = 0;                    // E |A (v_phi - v)|^2: the squared bias of the teacher at l = 1
  double own = 0;                        // E |B|^2; NaN if no h* is given

  double variance(double lambda) const { return (1 - lambda) * (1 - lambda) * noise; }
  double bias(double lambda) const { return lambda * lambda * teacher; }
};

// Measures the three numbers on p, which must have z0 and eps. ConfigError if p has rows with s = t. `v` is the flow's velocity or, if that is unknown, a
// teacher much better than `teacher`. `map` is h*; it may be empty.
BiasVariance bias_variance(const FlowMapNet& h, const PathBatch& p, const VelocityNet& v, const VelocityNet& teacher, const FlowMapNet& map = {});

}  // namespace fm
