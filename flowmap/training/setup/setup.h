// Finds a config for a data set and a budget of time, and estimates its time and memory. Measured times decide. First the smallest networks are rehearsed
// (rehearsal.h) with smaller and smaller images, until the budget allows enough steps. Then larger networks are rehearsed, beginning with the
// largest that may fit the budget, until one fits. The rest of the budget becomes steps, a share for each stage.
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
  std::int64_t side = 0;                   // side of the images; 0: chosen by set_up()
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
  double processor = 0;                    // processor time per second, as in the rehearsal
  double memory = 0, disk = 0;             // bytes
  double load = 0;                         // load average of the machine after the rehearsals
  double seconds() const;
};

struct Setup {
  DataFacts facts;
  Choice choice;
  Recipe recipe;                           // resolved
  Estimate estimate;
  std::vector<std::string> remarks;        // remarks for the user, for example that the budget is too small
};

// ConfigError if request.side is given, but the data has a size of its own.
Setup set_up(const DataFacts& facts, const SetupRequest& request, Messages& log, Ranks& ranks);

// Sets the steps of each stage and the number of samples of the evaluation so that they fill the budget according to `times`. Each stage gets at least ten
// steps.
void fill_budget(Choice& choice, const DataFacts& facts, const Recipe& recipe, const Rehearsal& times, double budget);

// Returns a table with a line for each stage, for data and evaluation, and for the totals.
std::vector<std::string> estimate_lines(const Estimate& estimate);

}  // namespace fm
