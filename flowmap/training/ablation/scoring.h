// Scores of an ablation's trainings, and of the teacher beside them.
#pragma once

#include "flowmap/training/ablation/report.h"

namespace fm {

// Fills in the scores of all trials that did not diverge, and for --what objective those of the teacher in as many steps. Samples are made by the sampler that a variant's objective
// declares. Points of the plane are scored by energy distance and, where their distribution is known, by map error; other samples as `evaluate` does. Images
// of samples, and plots of trajectories in the plane, come from the first seed.
void score(TrainingRun& run, Findings& findings);

}  // namespace fm
