// Memory and disk space of a training, from the recipe alone. A training that needs more than the machine has is refused (preflight.cpp), and estimates
// report the amounts (flowmap/training/setup/). The recipe must be resolved.
#pragma once

#include "flowmap/training/chain/recipe.h"
#include "flowmap/training/chain/stages.h"

namespace fm {

std::int64_t rows_at_a_time(const LoopConfig& loop);

// Bytes of a training. Exact for generators (costs.h). For others: weights, gradients, two moments and the average, and a lower bound of the activations
// of the largest part of a batch.
double memory_of_training(const Recipe& recipe, const StageSpec& stage, int ranks, bool sharded);

// Bytes of `images` images and their latents, kept in memory during a training.
double memory_of_data(const Recipe& recipe, std::int64_t images);

// Bytes of the checkpoints that a stage keeps, plus the one being written before the oldest is deleted: model, average and two moments in f32.
double checkpoint_bytes(const Recipe& recipe, const StageSpec& stage);

}  // namespace fm
