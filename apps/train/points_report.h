// Scores and pictures of a run whose samples are points of the plane.
#pragma once

#include "flowmap/training/chain/scored.h"
#include "flowmap/training/plane.h"

namespace fm {

// The test points that samples of this run are compared with, and the exact flow where it is known; generators are added to it.
PlaneRun plane_of(TrainingRun& run, const SampleSource& test);
void add_generator(PlaneRun& plane, TrainingRun& run, const ScoredGenerator& generator);

// Scores the generators of these names (names_to_score) against the test split by energy distance and, where the distribution is known, map error;
// adds them to scores.csv and writes report.html with pictures of samples, flows and fields.
void show_points(TrainingRun& run, const std::vector<std::string>& names);

}  // namespace fm
