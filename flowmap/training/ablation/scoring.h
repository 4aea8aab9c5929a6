// Scores of an ablation's trainings, and of the teacher beside them.
#pragma once

#include "flowmap/training/ablation/report.h"

namespace fm {

// Fills in the scores of all trials that did not diverge, and of --what objective the teacher's in as many steps. Samples are made by the sampler that a variant's objective
// declares. Points of the plane are scored by energy distance and, where their distribution is known, by map error; everything else as `evaluate` does. Pictures
// of samples, and in the plane of trajectories, are those of the first seed.
void score(TrainingRun& run, Findings& findings);

}  // namespace fm
