// Tables for `inspect --machine` and `inspect --profile`.
#pragma once

#include <string>

#include "flowmap/training/chain/recipe.h"

namespace fm {

// Peaks of the arithmetic units, bandwidth of memory, and the speed of the engine's products.
std::string machine_table();

// Profiles training steps of the recipe's DiT on random data. kind: fm, mft (w = eps - z0) or mfd (w from a teacher); mft and mfd use the recipe's
// derivative. Returns the step's cost in units of a forward pass without history, then three tables: by phase, by phase and operation, and by phase and
// part of the model. A line has time, share, GFLOP, GB and the reached share of the machine's limits. As CSV: phase, module, op, calls, seconds, gflop,
// gbyte.
std::string profile_step(Recipe& recipe, const std::string& kind, std::int64_t steps, bool csv);

}  // namespace fm
