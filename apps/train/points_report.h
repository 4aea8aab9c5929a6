// Scores and plots of a run whose samples are points of the plane.
#pragma once

#include <string>
#include <vector>

#include "flowmap/training/chain/training_run.h"

namespace fm {

// Scores the generators of these names (names_to_score) against the test split by energy distance and, if the distribution is known, by map error;
// adds them to scores.csv and writes report.html with plots of samples, flows and fields.
void show_points(TrainingRun& run, const std::vector<std::string>& names);

}  // namespace fm
