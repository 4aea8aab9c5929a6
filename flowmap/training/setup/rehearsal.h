// A short run of a recipe: every stage of the pipeline for some steps of the real size on the real data, then an evaluation of few samples. The
// rehearsal measures the real code instead of modeling it. The folder of the rehearsal is removed at the end.
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
  double step = 0;                         // seconds per step, averaged over the steps after the warm-up
  double around = 0;                       // seconds outside of steps: making the model, checkpoints, the preview at the end
};

struct Rehearsal {
  std::vector<StageTime> stages;           // in the order of the pipeline
  std::int64_t samples = 0;                // number of training samples in the rehearsal
  double data = 0;                         // seconds to read and decode these samples, and to encode their latents
  double evaluation = 0;                   // seconds: reference, features and other work that does not depend on the number of generated samples
  double sample = 0;                       // seconds to generate one sample with every generator that is scored
  double processor = 0;                    // processor time of all threads per second of training; lower if other processes use the cores
  std::int64_t memory = 0;                 // bytes: the largest resident memory of the process

  const StageTime& of(const std::string& stage) const;
};

// Trains `recipe` in `folder`, which must not exist. Each stage makes as many steps as take about `seconds`, at least 6 and at most 64. `worth` is
// called after each stage. If `worth` returns false, the rehearsal ends and returns nothing. `log` receives errors and the status line of the run, but no
// warnings. ConfigError and FileError as from TrainingRun and its preflight().
std::optional<Rehearsal> rehearse(const Recipe& recipe, const std::filesystem::path& folder, double seconds, Messages& log, Ranks& ranks,
                                  const std::function<bool(const StageTime&)>& worth);

}  // namespace fm
