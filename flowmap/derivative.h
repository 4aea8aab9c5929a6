// The derivative of the average velocity along the trajectory, for targets:
//   du/dt = (du/dz) w + du/dt|_z    at fixed s: the direction (w, dt = 1, ds = 0)
//
//   jvp        exact, in the same pass as u itself: costs about one forward on the rows that have a derivative
//   fd, central    [u(z + d w, s, t + d) - u(z - d w, s, t - d)] / (2 d): two forwards without history, error d^2 (MF-RAE, section 3.4)
//   forward, backward    one more forward, error d
//   semi       space by jvp, time by central difference (rCM): avoids differentiating the time embedding
//
// Rows: w may have fewer rows than z. Only those first rows are differentiated; the others cost nothing.
#pragma once

#include <string>

#include "flowmap/network.h"
#include "nn/config/visit.h"

namespace fm {

struct DerivativeConfig {
  std::string kind = "jvp";
  double delta = 5e-3;
  bool clamp_times = true;               // finite differences stay in s <= t <= 1; the reference code lets them leave (compat.h)
  template <class V> void visit(V&& v) {
    v("kind", kind,
      "method for du/dt: exact (jvp), a difference (fd and central, forward, backward), or jvp in space and a difference in time (semi)",
      one_of({"jvp", "fd", "central", "forward", "backward", "semi"}), basic());
    v("delta", delta, "time step of the finite differences", above(0));
    v("clamp_times", clamp_times, "finite differences within s <= t <= 1");
  }

  // Forward passes per row with a derivative, in addition to the graded one; a tangent counts as one.
  double evaluations() const { return kind == "jvp" || kind == "forward" || kind == "backward" ? 1 : kind == "semi" ? 3 : 2; }
};

struct FlowPoint {
  Tensor z, s, t;                        // (B, ...), (B), (B)
  Labels y;
  Labels y_plus, y_minus;  // labels of the two sides of a finite difference where they differ from y (compat.h); else undefined
};

struct Derivative {
  Var u;                                 // (B, ...), recorded if a tape is on
  Tensor dudt;                           // for w's rows, never recorded; undefined if w has none
};

FlowPoint first_rows(const FlowPoint& p, std::int64_t k);

// w: (k, ...) with k <= B rows, or undefined.
Derivative differentiate(const FlowMapNet& net, const FlowPoint& at, const Tensor& w, const DerivativeConfig& config);

}  // namespace fm
