// Prepares a run whose samples are points of the plane for the scores and plots of plane.h.
#pragma once

#include "flowmap/training/chain/scored.h"
#include "flowmap/training/plane.h"

namespace fm {

// Returns the test points to compare samples with, and the exact flow if it is known. add_generator() adds the run's generators.
PlaneRun plane_of(TrainingRun& run, const SampleSource& test);
void add_generator(PlaneRun& plane, TrainingRun& run, const ScoredGenerator& generator);

}  // namespace fm
