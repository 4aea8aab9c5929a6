// Lagrangian map distillation (LMD; Boffi et al. 2024; this form is AYF's, Sabour et al. 2025): LSD's semi-gradient form with the teacher's velocity v where
// a jump ends (lsd.h).
//   | u - sg( v(f, s) + (t-s) du/ds ) |^2,   f = z_t - (t-s) u(z_t, s, t)      on rows with s < t,
//   flow matching towards the velocity source                                 on rows with s = t
#pragma once

#include "flowmap/objective/lsd.h"

namespace fm {

// LSD with through_derivative and end_velocity fixed, so a config cannot set them.
struct LmdConfig : LsdConfig {
  LmdConfig() { through_derivative = false, end_velocity = "teacher"; }
  template <class V> void visit(V&& v) {
    v("pairs", pairs, "times s <= t of each row");
    v("labels", labels, "label dropout");
    v("metric", metric, "metric from residual to loss");
  }

  static constexpr std::string_view name = "lmd", says = "a jump's end moves with the teacher's velocity as s does (LMD)";
};

}  // namespace fm
