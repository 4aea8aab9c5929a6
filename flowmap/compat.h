// Departures of the released MF-RAE code from its paper. By default every switch follows the paper; Compat::sony() follows the code. A
// checkpoint stores the switches with the config.
#pragma once

#include <string>

#include "nn/config/visit.h"
#include "tensor/error.h"

namespace fm {

struct Compat {
  // CMT: the times that the student receives. "true": the times of the teacher's shifted grid (Eq. 3). "uniform": evenly spaced times without the
  // shift, which equal the states' times only at t = 1.
  std::string cmt_time_labels = "true";
  // true: labels are dropped once per sample. false: the student drops again, independently in u and in both sides of a finite difference, so
  // that the sides may see different labels.
  bool fd_share_label_drop = true;
  // false: t + delta may exceed 1 and t - delta may fall below s and 0.
  bool clamp_fd_times = true;
  // true: S^2 / sg(S^2 + 1e-3) in place of the configured metric (the paper has plain L2 in Eq. 1 and 2).
  bool squared_adaptive_metric = false;

  template <class V> void visit(V&& v) {
    v("cmt_time_labels", cmt_time_labels, "times given to the student in CMT: the times of the teacher's grid (true) or evenly spaced times (uniform)",
      one_of({"true", "uniform"}));
    v("fd_share_label_drop", fd_share_label_drop,
      "one label dropout for all evaluations of a sample; false: each evaluation by the trained network drops labels again");
    v("clamp_fd_times", clamp_fd_times, "times of finite differences clamped to [s, 1]; false: they may leave this interval");
    v("squared_adaptive_metric", squared_adaptive_metric, "the metric of MF-RAE's released code, squared_adaptive with c = 1e-3; false: the setting metric");
  }

  static Compat paper() { return {}; }
  static Compat sony() { return {"uniform", false, false, true}; }
  static Compat named(const std::string& name) {
    if (name == "paper") return paper();
    if (name == "sony") return sony();
    throw ConfigError("there is no compat '" + name + "': known are paper and sony");
  }
};

}  // namespace fm
