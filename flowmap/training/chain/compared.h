// What `flowmap_train compare` takes: runs, trainings of stages, and variants of ablations, by the names of their folders.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace fm {

struct ComparedTraining {
  std::string label, stage;              // the folder's name, in label with the run's before it
  std::filesystem::path folder;          // with metrics.csv
};

// One argument of the command.
struct Compared {
  std::string label;                     // the argument without what all of them begin with: "b", "b/mfd", "lsd, seed 1"
  std::filesystem::path folder;
  bool is_run = false;                   // a whole run: several stages
  std::vector<ComparedTraining> trainings;   // of a run those of its stages, in their order; of a variant those of its seeds; never empty
};

// ConfigError where fewer than two or more than 16 are given, or one twice; FileError where a folder does not exist or is no run, no stage and no variant.
std::vector<Compared> find_compared(const std::vector<std::string>& arguments);

}  // namespace fm
