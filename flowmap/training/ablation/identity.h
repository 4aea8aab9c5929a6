// Everything that decides the weights of a training, as text. Two trainings with equal texts give equal bits, and only then is one reused for the other.
//
// A trained variant lies in out/ablate/WHAT/VARIANT/seed-S-KEY, where KEY is a hash of the text, and identity.txt there holds the text. So a
// flag that changes the training names another folder, and weights are never shown under settings that they were not trained with.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "flowmap/training/ablation/variants.h"

namespace fm {

struct Identity {
  std::vector<std::string> lines;        // "KEY = VALUE": config first, then checksums of its inputs, then the build

  std::string text() const;
  std::string key() const;               // 16 hexadecimal digits
};

// `run` provides the checksums of start, teacher, encoder, statistics and training data. FileError when the start was not trained yet.
Identity identity(TrainingRun& run, const Variant& variant, std::int64_t seed);

// "ablate/WHAT/VARIANT/seed-S-KEY", inside the run.
std::string folder_of(const std::string& what, const Variant& variant, std::int64_t seed, const Identity& identity);

// Creates the folder with identity.txt, or compares an existing one with `identity`. FileError if it holds another training. Returns the difference
// to the nearest other training of this variant and seed, "mfd.loop.steps was 4, is 6"; empty if there is no other or the folder already existed.
std::string claim_folder(const std::filesystem::path& folder, const Identity& identity);

}  // namespace fm
