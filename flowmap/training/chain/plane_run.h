// A run whose samples are points of the plane, as plane.h scores and draws it.
#pragma once

#include "flowmap/training/chain/scored.h"
#include "flowmap/training/plane.h"

namespace fm {

// The test points for comparison with samples of this run, and the exact flow if it is known; generators are added to it.
PlaneRun plane_of(TrainingRun& run, const SampleSource& test);
void add_generator(PlaneRun& plane, TrainingRun& run, const ScoredGenerator& generator);

}  // namespace fm
