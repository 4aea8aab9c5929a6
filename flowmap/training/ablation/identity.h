// Everything that decides the weights of a training, as text. Trainings with equal texts give the same bits, so a finished training is reused for an
// equal text, and for no other.
//
// A trained variant lies in out/ablate/WHAT/VARIANT/seed-S-KEY, where KEY is a hash of the text. The file identity.txt in that folder holds the text. A
// flag that changes the training therefore also changes the folder, and results never appear under settings that their weights were not trained with.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "flowmap/training/ablation/variants.h"

namespace fm {

struct Identity {
  std::vector<std::string> lines;        // "KEY = VALUE": the config, the seed, checksums of the training's inputs, the build

  std::string text() const;
  std::string key() const;               // 16 hexadecimal digits
};

// Returns the identity of a variant's training. `run` provides the checksums of initial weights, teacher, encoder, statistics and training data.
// FileError if the stage that provides the initial weights is not trained.
Identity identity(TrainingRun& run, const Variant& variant, std::int64_t seed);

// Returns "ablate/WHAT/VARIANT/seed-S-KEY", a path inside the run's folder.
std::string folder_of(const std::string& what, const Variant& variant, std::int64_t seed, const Identity& identity);

// Creates the folder and its identity.txt. If the folder exists, its identity.txt must equal `identity`, else the folder holds another training:
// FileError. Returns how a new training differs from the most similar one of this variant and seed, such as "mfd.loop.steps was 4, is 6". Returns "" if
// the training is not new, or if there is no other one.
std::string claim_folder(const std::filesystem::path& folder, const Identity& identity);

// For stages before the flow maps, which all comparisons in a run share, so that their folders have no identity: ConfigError if the run has weights of this
// stage that were trained with other settings than the run's recipe. The error names the first such key.
void check_trained_alike(TrainingRun& run, const StageSpec& stage);

}  // namespace fm
