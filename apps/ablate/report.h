// The findings of an ablation as a table of means and deviations, as a list of trials, and as a page with plots.
#pragma once

#include <filesystem>

#include "apps/ablate/measure.h"
#include "data/report/table.h"
#include "flowmap/training/chain/score.h"

namespace fm {

// One training of one variant.
struct Trial {
  std::size_t variant = 0;               // in the list
  std::int64_t seed = 0;
  std::string folder;                    // of its weights, inside the run; empty: nothing was trained
  std::optional<StepCost> cost = {};
  bool diverged = false;                 // the training
  std::vector<Score> scores = {};        // one for each number of calls; none when it diverged
};

struct Findings {
  std::string what, subtitle;
  std::vector<Variant> variants;
  std::vector<Trial> trials;
  std::vector<int> calls;                // network calls of the flow map that were scored; empty: none
  std::string busy;                      // what the machine did while times were taken
};

Table table_of(const Findings& findings);

// A row a trial and number of calls: variant, seed, folder, steps, costs, and all columns of a score, what it is of included.
std::string trials_csv(const Findings& findings);

// `run`: where the trials' folders lie, for their curves.
std::string report_html(const Findings& findings, const Table& table, const std::filesystem::path& run);

}  // namespace fm
