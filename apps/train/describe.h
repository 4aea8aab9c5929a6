// --dry-run: describes a run without running it.
#pragma once

#include "flowmap/training/chain/training_run.h"

namespace fm {

// Logs parameters, memory and steps of the stages that the command trains; writes nothing.
void describe(TrainingRun& run);

// "2000000 parameters; 38.1 MiB with gradients, moments and average"
std::string training_size(std::int64_t parameters);

}  // namespace fm
