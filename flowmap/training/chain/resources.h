// Memory and disk space of a training, computed from the recipe alone. Trainings that need more than the machine has are refused (preflight.cpp).
// Estimates report the amounts (flowmap/training/setup/). The recipe must be resolved.
#pragma once

#include "flowmap/training/chain/recipe.h"
#include "flowmap/training/chain/stages.h"

namespace fm {

std::int64_t rows_at_a_time(const LoopConfig& loop);               // rows of a micro-batch

// Bytes of memory that a training needs. For generators costs.h counts them. For other stages they are weights, gradients, two moments and the average,
// the networks beside the model, and a lower bound of the activations of a micro-batch.
double memory_of_training(const Recipe& recipe, const StageSpec& stage, int ranks, bool sharded);

// Bytes of `images` images and their latents, or 0 if the training does not keep them in memory.
double memory_of_data(const Recipe& recipe, std::int64_t images);

// Bytes of the checkpoints that a stage keeps, plus the one being written before the oldest is deleted: model, average, two moments, and networks with an optimizer of their own, in f32.
double checkpoint_bytes(const Recipe& recipe, const StageSpec& stage);

}  // namespace fm
