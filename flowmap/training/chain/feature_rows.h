// The features that a recipe can score samples by, a row each.
#pragma once

#include "flowmap/training/chain/training_run.h"
#include "flowmap/training/features.h"

namespace fm {

// The features named by evaluate.features, or the default for the latent space's samples: the judge for images, the values of others. FileError if
// their weights are missing.
Features open_features(TrainingRun& run);

// Reads judge_weights and compares them with the recipe. FileError.
void check_given_judge(TrainingRun& run);

// Whether the weights of the features are given, or trained by the recipe.
bool has_features(const Recipe& recipe);

}  // namespace fm
