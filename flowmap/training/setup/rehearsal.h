// A short run of a recipe: every stage of the pipeline for some steps of the real size on the real data, then an evaluation of few samples. It
// measures the real code instead of modeling it. Its folder is removed at the end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "flowmap/training/chain/recipe.h"
#include "nn/training/messages.h"
#include "nn/training/ranks.h"

namespace fm {

struct StageTime {
  std::string stage;
  double step = 0;                         // seconds, the mean without the first two
  double around = 0;                       // seconds: making the model, checkpoints, the preview at the end
};

struct Rehearsal {
  std::vector<StageTime> stages;           // in their order
  std::int64_t samples = 0;                // the number of samples in the rehearsal
  double data = 0;                         // seconds: reading and decoding them, and encoding their latents
  double evaluation = 0;                   // seconds: reference, features and other work that does not depend on the number of generated samples
  double sample = 0;                       // seconds: one sample of every generator that is scored
  double processor = 0;                    // seconds of processor time in a second of its steps, on all threads: below 1 a thread where other work has the rest
  std::int64_t memory = 0;                 // bytes: the most that the process held

  const StageTime& of(const std::string& stage) const;
};

// Trains `recipe` in `folder`, which must not exist; each stage for some six steps, or for `seconds` if that is longer. `worth` is called after each stage and ends the rehearsal by false: then nothing is returned. Warnings
// of the run go to `log`. ConfigError and FileError as from TrainingRun and its preflight().
std::optional<Rehearsal> rehearse(const Recipe& recipe, const std::filesystem::path& folder, double seconds, Messages& log, Ranks& ranks,
                                  const std::function<bool(const StageTime&)>& worth);

}  // namespace fm
