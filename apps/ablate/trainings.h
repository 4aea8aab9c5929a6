// The trainings of a comparison: where they lie, how they are made, timed and published. Shared by all comparisons of the program ablate.
#pragma once

#include <map>
#include <memory>

#include "apps/cli/program.h"
#include "apps/run/run_observer.h"
#include "flowmap/training/ablation/report.h"
#include "flowmap/training/chain/training_run.h"

namespace fm {

// Opens the same run once for each combination of the settings that do not belong to a variant's last stage: precision, guidance and the teacher.
class Runs {
 public:
  Runs(TrainingRun& base, Context& context) : base_(base), context_(context) {}
  TrainingRun& of(const Variant& v) {
    if (settings(v.recipe) == settings(base_.recipe())) return base_;
    Entry& entry = runs_[settings(v.recipe)];
    if (!entry.run) {
      entry.recipe = std::make_unique<Recipe>(v.recipe);
      entry.run = std::make_unique<TrainingRun>(*entry.recipe, run_context(context_));
    }
    return *entry.run;
  }

 private:
  static std::string settings(const Recipe& r) { return fmt::format("{} {} {} {} {}", r.network.precision(), r.guidance, r.guidance_from, r.guidance_to, r.teacher_weights); }
  struct Entry {
    std::unique_ptr<Recipe> recipe;
    std::unique_ptr<TrainingRun> run;
  };
  TrainingRun& base_;
  Context& context_;
  std::map<std::string, Entry> runs_;
};

// Finds the trial's folder by its identity, and trains there, or resumes from the newest checkpoint. A divergence becomes a row of the table and does not end
// the ablation. `fresh`: an earlier training in the folder is moved aside.
Outcome train_trial(TrainingRun& run, const std::string& what, const Variant& v, Trial& trial, bool fresh);

// Measures the step costs of all variants, on one batch per seed. Adds the trials of the first seed, then those of the next, and so on.
void measure_costs(Subject& subject, Findings& f, const std::vector<std::int64_t>& seeds, std::int64_t rounds, Messages& log);
// The same trials without their costs.
void list_trials(Findings& f, const std::vector<std::int64_t>& seeds);

// Returns "2000 samples", with the features of the scores unless they are the usual ones: "2000 samples in inception tf1". The number of samples is the
// requested one, but in the plane at most the number of test samples; 0 without scores.
std::string scored_text(const Findings& f);

// Writes table, list of trials, samples and report into the folder, and prints the table. Tables of another comparison are kept under another name. `run`: the
// folder that the trials' folders are in. FileError if the folder cannot be made.
void publish(const std::filesystem::path& folder, const Findings& f, const std::filesystem::path& run, Messages& log);

}  // namespace fm
