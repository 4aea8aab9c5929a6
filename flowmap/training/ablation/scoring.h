// Scores of an ablation's trainings, and of the teacher beside them.
#pragma once

#include "flowmap/training/ablation/report.h"

namespace fm {

// Scores all trials that did not diverge. For --what objective it also scores the teacher, in as many solver steps as the flow maps have calls. Samples
// are made by the sampler that a variant's objective declares. Points of the plane are scored by energy distance and, if their distribution is known, by
// map error. Other samples are scored as `evaluate` scores them. The pictures of samples and trajectories are those of the first seed.
void score(TrainingRun& run, Findings& findings);

}  // namespace fm
