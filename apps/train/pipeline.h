// All stages of a run in order, then samples, scores and the report.
#pragma once

#include "flowmap/training/chain/training_run.h"

namespace fm {

// Runs every stage that has steps. Then evaluates, and writes the comparison grid and report.html. Returns the program's exit code.
int run_pipeline(TrainingRun& run);

}  // namespace fm
