// The derivative of the average velocity along the trajectory, for targets:
//   du/dt = (du/dz) w + du/dt|_z    at fixed s: the direction (w, dt = 1, ds = 0)
//
//   jvp        exact, in the same pass as u; costs about one more forward pass over the rows that have a derivative
//   fd, central    [u(z + d w, s, t + d) - u(z - d w, s, t - d)] / (2 d): two more forward passes without history, error d^2 (MF-RAE, section 3.4)
//   forward, backward    one more forward pass, error d
//   semi       jvp in space, central difference in time (rCM): does not differentiate the time embedding
//
// If w has k rows, fewer than z, only the first k rows are differentiated. The other rows cost nothing extra.
#pragma once

#include <string>

#include "flowmap/network.h"
#include "nn/config/visit.h"

namespace fm {

struct DerivativeConfig {
  std::string kind = "jvp";
  double delta = 5e-3;
  bool clamp_times = true;               // times of finite differences stay in [s, 1]; in the released MF-RAE code they may leave it (compat.h)
  template <class V> void visit(V&& v) {
    v("kind", kind,
      "method for du/dt: exact (jvp), a finite difference (central or fd, forward, backward), or jvp in space and a central difference in time (semi)",
      one_of({"jvp", "fd", "central", "forward", "backward", "semi"}), basic());
    v("delta", delta, "time step of the finite differences", above(0));
    v("clamp_times", clamp_times, "times of finite differences clamped to [s, 1]; false: they may leave this interval");
  }

  // Forward passes per row with a derivative, besides the pass that is differentiated backward. A tangent counts as one pass.
  double evaluations() const { return kind == "jvp" || kind == "forward" || kind == "backward" ? 1 : kind == "semi" ? 3 : 2; }
};

struct FlowPoint {
  Tensor z, s, t;                        // (B, ...), (B), (B)
  Labels y;
  Labels y_plus, y_minus;  // labels of the two sides of a finite difference where they differ from y (compat.h); else undefined
};

struct Derivative {
  Var u;                                 // (B, ...), recorded if a tape is on
  Tensor dudt;                           // for the rows of w, never recorded; undefined if w has no rows
};

FlowPoint first_rows(const FlowPoint& p, std::int64_t k);

// Computes u and du/dt. w: (k, ...) with k <= B rows, or undefined for no derivative.
Derivative differentiate(const FlowMapNet& net, const FlowPoint& at, const Tensor& w, const DerivativeConfig& config);

}  // namespace fm
