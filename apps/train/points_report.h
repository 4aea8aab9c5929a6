// What a run on points of the plane shows when it is trained: scores.csv with the energy distance and, where the exact flow is known, the error of
// the map; report.html with pictures of samples, trajectories, fields and errors (flowmap/training/plane.h) and the curves of every stage.
#pragma once

#include "apps/train/training_run.h"

namespace fm {

// Of all that was trained: the teacher along its trajectory and in one step, each flow map with evaluate.steps calls. False, and a message, where
// samples are no points in the plane.
bool show_points(TrainingRun& run);

}  // namespace fm
