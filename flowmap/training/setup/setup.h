// From a data set and a budget of time to a config and an estimate of its time and memory. Measured times alone decide: a rehearsal (rehearsal.h) of the
// smallest networks, for each side of images from the largest down until the budget holds enough steps; then of the largest networks for which that
// still holds. The rest of the budget becomes steps, a share for each stage.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "flowmap/training/setup/data_facts.h"
#include "flowmap/training/setup/proposal.h"
#include "flowmap/training/setup/rehearsal.h"

namespace fm {

struct SetupRequest {
  double budget = 1800;                    // seconds for the whole pipeline
  std::int64_t side = 0;                   // of images; 0: chosen
  std::int64_t seed = 1;
  std::filesystem::path rehearsals;        // a folder that does not exist; it is made and removed
};

struct StageEstimate {
  std::string stage;
  std::int64_t steps = 0, batch = 0;
  double step = 0, seconds = 0;
};

struct Estimate {
  std::vector<StageEstimate> stages;
  double data = 0, evaluation = 0;         // seconds
  double processor = 0;                    // seconds of processor time in one second, as while it was measured
  double memory = 0, disk = 0;             // bytes
  double load = 0;                         // of the machine during the measurement: processes that competed for a core
  double seconds() const;
};

struct Setup {
  DataFacts facts;
  Choice choice;
  Recipe recipe;                           // resolved
  Estimate estimate;
  std::vector<std::string> remarks;        // for the user: budgets that are too small or not used up
};

// ConfigError for a side that the images do not have.
Setup set_up(const DataFacts& facts, const SetupRequest& request, Messages& log, Ranks& ranks);

// Steps of each stage, and the number of samples of the evaluation, that the budget holds by these times. At least ten steps a stage.
void fill_budget(Choice& choice, const DataFacts& facts, const Recipe& recipe, const Rehearsal& times, double budget);

// A line a stage, and the sums.
std::vector<std::string> estimate_lines(const Estimate& estimate);

}  // namespace fm
