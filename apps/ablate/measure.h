// What a training step of each variant costs and how exact its target is, all of them at the same weights (the CMT checkpoint's) and on the
// same batch.
#pragma once

#include "apps/ablate/variants.h"

namespace fm {

struct StepCost {
  double target_error = 0;               // |target - exact| / |exact|, exact: the JVP's in f64
  double seconds = 0, peak_mib = 0;      // of loss and gradients; memory beside weights and optimiser
};

// One for each variant. The median of `rounds` rounds in which the variants take turns, so that other work on the machine slows all alike.
std::vector<StepCost> step_costs(TrainingRun& run, const std::vector<Variant>& list, std::int64_t rounds);

}  // namespace fm
