// The arguments of `flowmap_train compare`: folders of runs, of stages in runs, and of variants in ablations.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace fm {

struct ComparedTraining {
  std::string label, stage;              // label: "b/mfd", "lsd, seed 1"; stage: name of the stage's or variant's folder
  std::filesystem::path folder;          // contains metrics.csv
};

// One argument of the command.
struct Compared {
  std::string label;                     // the argument without the folders that all arguments begin with: "b", "b/mfd", "lsd"
  std::filesystem::path folder;
  bool is_run = false;                   // a whole run, with all its stages
  std::vector<ComparedTraining> trainings;   // one for each stage of a run, in their order, or one for each seed of a variant; never empty
};

// Finds the folders. ConfigError for fewer than two arguments, for a folder that is given twice, and for more than 16 curves in a plot (a variant has one
// for each seed). FileError if a folder does not exist or is neither a run, a stage nor a variant.
std::vector<Compared> find_compared(const std::vector<std::string>& arguments);

}  // namespace fm
