// The kinds of features that a recipe can choose for scores of samples.
#pragma once

#include "flowmap/training/chain/training_run.h"
#include "flowmap/training/features.h"

namespace fm {

// Opens the features that evaluate.features names. By default the features are the judge's for images, and the values of other samples. FileError if their weights
// are missing.
Features open_features(TrainingRun& run);

// Reads judge_weights and compares them with the recipe. FileError if they cannot be read or do not fit.
void check_given_judge(TrainingRun& run);

// The file of weights in evaluate.features; empty for features of the run's own.
std::string file_of_features(const Recipe& recipe);

// ConfigError if evaluate.features names no row of the list, or features that these samples do not have.
void check_features(const Recipe& recipe);

// Whether the recipe gives or trains the weights of the features. True for features without weights.
bool has_features(const Recipe& recipe);

}  // namespace fm
