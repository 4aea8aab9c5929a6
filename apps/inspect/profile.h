// Tables for `inspect --machine` and `inspect --profile`.
#pragma once

#include <string>

#include "flowmap/training/chain/recipe.h"

namespace fm {

// Peaks of the arithmetic units, bandwidth of memory, and the speed of the engine's products.
std::string machine_table();

// Training steps of the recipe's DiT on random data, where their time goes. kind: fm, mft (w = eps - z0) or mfd
// (w from a teacher), both by the recipe's derivative.
// One line an operation and phase, then one a module, each with seconds, share, GFLOP, GB and the part of the machine's limit that they
// reach; and the step's cost in units of a forward without history. As CSV: phase, module, op, calls, seconds, gflop, gbyte.
std::string profile_step(Recipe& recipe, const std::string& kind, std::int64_t steps, bool csv);

}  // namespace fm
