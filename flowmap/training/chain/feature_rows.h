// The features that a recipe can score samples by, a row each.
#pragma once

#include "flowmap/training/chain/training_run.h"
#include "flowmap/training/features.h"

namespace fm {

// Those of evaluate.features, or of the latent space's samples where that is empty: the judge for pictures, the values of others. FileError where
// their weights are missing.
Features open_features(TrainingRun& run);

// Reads judge_weights and compares them with the recipe. FileError.
void check_given_judge(TrainingRun& run);

// Whether those weights are given, or trained by the recipe.
bool has_features(const Recipe& recipe);

}  // namespace fm
