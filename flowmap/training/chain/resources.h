// What a training holds in memory and on the disk, from the recipe alone: refused beforehand where the machine has less (preflight.cpp), and told
// beforehand (flowmap/training/setup/). The recipe must be resolved.
#pragma once

#include "flowmap/training/chain/recipe.h"
#include "flowmap/training/chain/stages.h"

namespace fm {

std::int64_t rows_at_a_time(const LoopConfig& loop);

// Bytes of a training. Of generators exactly (costs.h). Of others weights, gradients, two moments and the average, and a lower bound of what a pass over
// the largest part of a batch keeps.
double memory_of_training(const Recipe& recipe, const StageSpec& stage, int ranks, bool sharded);

// Bytes of a training that keeps `images` pictures and their latents in memory.
double memory_of_data(const Recipe& recipe, std::int64_t images);

// Bytes of the checkpoints that a stage keeps, and of the one that is written before the oldest goes: model, average and two moments in f32.
double checkpoint_bytes(const Recipe& recipe, const StageSpec& stage);

}  // namespace fm
