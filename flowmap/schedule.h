// Numbers that change during a training: the step itself, and the schedules of published objectives.
#pragma once

#include <cstdint>
#include <string>

#include "nn/config/visit.h"

namespace fm {

// Progress of the whole training, not of this process: the same after a restart.
struct TrainingStep {
  std::int64_t step = 0, total = 1;
};

// A change from `from` to `to` between `begin` and `end`, with x = 0 ... 1 in between:
//
//   constant      from
//   linear        from + (to - from) x
//   exponential   from (to / from)^x                            SoFlow's l: .1 -> .002
//   sigmoid       from + (to - from) / (1 + exp(-k (x - 1/2)))  alpha-Flow's alpha: 1 -> 0, k = 25; near an end (`snap`) the value is the end's
struct Ramp {
  std::string kind = "constant";
  double from = 1, to = 1;
  double begin = 0, end = 1;             // shares of the training, or, above 1, numbers of steps
  double steepness = 25, snap = 0.005;   // for sigmoid alone

  Ramp() = default;
  Ramp(double constant) : from(constant), to(constant) {}
  Ramp(std::string how, double first, double last) : kind(std::move(how)), from(first), to(last) {}

  template <class V> void visit(V&& v) {
    v("kind", kind, "curve of the value during the change", one_of({"constant", "linear", "exponential", "sigmoid"}));
    v("from", from, "value before the change; for kind constant: the value at all steps");
    v("to", to, "value after the change");
    v("begin", begin, "beginning of the change: up to 1 a share of the training, above 1 a number of steps", at_least(0));
    v("end", end, "end of the change: up to 1 a share of the training, above 1 a number of steps", at_least(0));
    v("steepness", steepness, "factor k in the sigmoid 1 / (1 + exp(-k (x - 1/2))), with x from 0 to 1 during the change", above(0));
    v("snap", snap, "distance from an end, as a share of the range, below which the sigmoid takes the end's value", range(0, 0.5));
  }

  double at(const TrainingStep& now) const;
  double last() const { return kind == "constant" ? from : to; }             // the value after the change

  // ConfigError if `from` or `to` is outside [low, high], if the change ends before it begins or after the training's `steps`, or if an exponential change
  // begins or ends at a number that is not positive. `key`: the schedule's path in the config, such as "map.objective.alpha_flow.alpha".
  void check(const std::string& key, std::int64_t steps, double low, double high) const;
};

}  // namespace fm
