// Learning rates and decays of weight averages as pure functions of the step, without state to save or restore.
#pragma once

#include <cstdint>
#include <string>

#include "nn/config/visit.h"

namespace fm {

// Linear warm-up from zero, then `peak`, then a fall to `end` between the steps decay_begin and decay_end, then `end`. Steps count updates from 0.
struct LearningRate {
  double peak = 1e-4;
  std::string decay = "constant";        // the curve of the fall; constant: no fall
  double end = 0;
  std::int64_t warmup_steps = 0;
  std::int64_t decay_begin = 0;          // first step of the fall, or the end of the warm-up if that is later
  std::int64_t decay_end = 0;            // the first step at `end`

  template <class V> void visit(V&& v) {
    v("peak", peak, "highest learning rate", at_least(0), flag("lr"), basic());
    v("decay", decay, "curve along which the learning rate falls; constant: it stays at peak", one_of({"constant", "cosine", "linear"}));
    v("end", end, "learning rate from step decay_end on", at_least(0));
    v("warmup_steps", warmup_steps, "length of the linear warm-up from zero", range(0, 4e9), unit("steps"));
    v("decay_begin", decay_begin, "step at which the learning rate begins to fall, or the end of the warm-up if that is later", range(0, 4e9), unit("steps"));
    v("decay_end", decay_end, "step at which the learning rate reaches end", range(0, 4e9), unit("steps"));
  }
};

// ConfigError if a rate is not finite and >= 0, the steps are out of order or `decay` is unknown.
void check(const LearningRate& rate);

// Returns the rate of `step`. In the warm-up it is peak (step + 1) / warmup_steps. In the fall, with x from 0 to 1, it is
// end + (peak - end)(1 + cos(pi x))/2 for cosine and peak + (end - peak) x for linear.
double learning_rate(const LearningRate& rate, std::int64_t step);

// Returns the decay of a weight average at update `step` (from 0). With a ramp it is min(decay, (1 + step) / (10 + step)), so that even in a short
// run the average moves away from its initial values.
double average_decay(double decay, bool ramp, std::int64_t step);

}  // namespace fm
