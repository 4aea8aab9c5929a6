// Tables of plans (flowmap/training/chain/plan.h), for `inspect --plan`.
#pragma once

#include <string>

#include "flowmap/training/chain/plan.h"

namespace fm {

// One line per stage that has steps, and one for all, with the GPU-days that the MF-RAE paper reports if the recipe is the paper's. As CSV (base
// units: FLOP, bytes, seconds; samples of CMT are trajectories): stage, steps, batch, flops, memory, memory_sharded, bytes_sent,
// step_seconds, samples_per_second, gpu_days, published_gpu_days, published_utilisation, released_utilisation.
std::string plan_of_recipe(Recipe& recipe, PlanConfig config, bool csv);

// One stage in full. As CSV: quantity, unit, whole, sharded; quantities that do not depend on --shard-optimizer have equal columns.
std::string plan_of_stage(Recipe& recipe, const std::string& stage, PlanConfig config, bool csv);

}  // namespace fm
