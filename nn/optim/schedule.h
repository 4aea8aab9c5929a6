// Learning rates and decays of weight averages as pure functions of the step, without state to save or restore.
#pragma once

#include <cstdint>
#include <string>

#include "nn/config/visit.h"

namespace fm {

// Linear warm-up from zero, then `peak`, then a fall to `end` between two steps, then `end`. Steps count updates from 0.
struct LearningRate {
  double peak = 1e-4;
  std::string decay = "constant";        // the shape of the fall
  double end = 0;
  std::int64_t warmup_steps = 0;
  std::int64_t decay_begin = 0;          // the fall's first step, not before the warm-up ends
  std::int64_t decay_end = 0;            // the first step at `end`

  template <class V> void visit(V&& v) {
    v("peak", peak, "highest learning rate", at_least(0), flag("lr"), basic());
    v("decay", decay, "curve by which the learning rate falls", one_of({"constant", "cosine", "linear"}));
    v("end", end, "learning rate after the fall", at_least(0));
    v("warmup_steps", warmup_steps, "length of the linear warm-up from zero", range(0, 4e9), unit("steps"));
    v("decay_begin", decay_begin, "beginning of the fall, at the earliest the end of the warm-up", range(0, 4e9), unit("steps"));
    v("decay_end", decay_end, "end of the fall", range(0, 4e9), unit("steps"));
  }
};

// ConfigError when a rate is no finite number >= 0, the steps are out of order or the shape is unknown.
void check(const LearningRate& rate);

// step < warmup: peak (step + 1) / warmup. In the fall, with x from 0 to 1: cosine end + (peak - end)(1 + cos(pi x))/2, linear
// peak + (end - peak) x.
double learning_rate(const LearningRate& rate, std::int64_t step);

// The decay of a weight average at update `step` (from 0): with a ramp min(decay, (1 + step) / (10 + step)), so that an average of a short
// run is not still near its initial values.
double average_decay(double decay, bool ramp, std::int64_t step);

}  // namespace fm
