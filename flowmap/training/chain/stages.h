// The table of stages. All code about stages iterates over it: commands and their help, the pipeline's order, the search for missing and trained
// stages, --dry-run, the checks before the first step, costs, plans, evaluation and reports. A new stage needs a row in stages.cpp, a struct in recipe.h, its name in
// stage_names.h and the function that runs it.
#pragma once

#include <span>
#include <string_view>

#include "flowmap/training/chain/recipe.h"
#include "flowmap/training/chain/stage_names.h"

namespace fm {

class TrainingRun;

enum class Makes { classifier, encoder, decoder, autoencoder, latents, statistics, teacher, flow_map };

struct ParameterCount {
  std::int64_t all = 0, trained = 0;
};

// Parameters that a training keeps in memory beside those of its model.
struct Beside {
  std::int64_t frozen = 0;     // of networks that it only reads
  std::int64_t trained = 0;    // of networks with an optimizer of their own, without an average
};

struct StageSpec {
  const char* name;            // command, config section, folder in the run, and key of its random numbers
  const char* help;            // help text of the command
  Makes makes;
  Outcome (*run)(TrainingRun& run, const StageSpec& stage);
  const char* example;         // options of a command line that runs it, for help

  // A stage without a loop has no steps of its own: encode and stats.
  const LoopConfig& (*loop)(const Recipe&) = nullptr;
  bool epochs = true;          // whether it passes over the samples of the data set; false: its samples are trajectories
  const char* given_key = nullptr;             // the recipe's key for a file that replaces the stage, and its field; null: no file can replace it
  std::string Recipe::*given = nullptr;
  const char* file = nullptr;  // the file in its folder that later stages read; null: its newest checkpoint

  // For generators:
  const char* (*start)(const Recipe&) = nullptr;      // the stage whose averaged weights it begins with; null, or
                                                      // returns null: random weights
  Objective (*objective)(const Recipe&, const std::string& keys) = nullptr;   // keys: prefix of its keys, "mfd.objective"; null: not a generator
  const std::string& (*velocity)(const Recipe&) = nullptr;                    // the source of w; null: one-point
  MfStage Recipe::*mean_flow = nullptr;               // the stage's section of the recipe, if it trains by MeanFlow; else null

  ParameterCount (*parameters)(const Recipe&) = nullptr;
  Beside (*beside)(const Recipe&) = nullptr;               // null: nothing
  std::int64_t (*values_a_row)(const Recipe&) = nullptr;   // a lower bound of the values that a pass keeps per sample; null: costs.h counts them exactly
  const char* scored_as = nullptr;                    // the name of its rows in scores.csv; null: an evaluation leaves it out

  std::int64_t steps(const Recipe& r) const { return loop == nullptr ? 0 : loop(r).steps; }
  bool is_given(const Recipe& r) const { return given != nullptr && !(r.*given).empty(); }
  // Whether `pipeline` trains it: it has steps, and no file replaces it.
  bool in_pipeline(const Recipe& r) const { return steps(r) > 0 && !is_given(r); }
  bool is_generator() const { return objective != nullptr; }
  Objective objective_in(const Recipe& r) const { return objective(r, std::string(name) + ".objective"); }
  std::string velocity_in(const Recipe& r) const { return velocity == nullptr ? "one-point" : velocity(r); }
  // Whether it learns from the teacher, and the number of teacher calls for one sample of the batch, without guidance.
  bool is_taught(const Recipe& r) const { return is_generator() && (objective_in(r).needs.teacher || asks_teacher_for_velocity(r)); }
  double teacher_calls(const Recipe& r) const {
    const Needs needs = objective_in(r).needs;
    return needs.teacher_calls + (asks_teacher_for_velocity(r) ? 1 : 0);
  }

 private:
  bool asks_teacher_for_velocity(const Recipe& r) const { return objective_in(r).needs.velocity && teacher_share(velocity_in(r)) > 0; }
};

std::span<const StageSpec> stage_table();                    // the stages in the order of the pipeline

const StageSpec* find_stage(std::string_view name);          // null: no stage has this name
const StageSpec& stage_named(std::string_view name);         // ConfigError lists the valid names
const StageSpec& stage_that_makes(Makes what);               // the first such stage

std::vector<std::string> stages_that_make(Makes what);       // names, in order
std::vector<std::string> generator_stages();                 // teacher and flow maps
std::vector<std::string> scored_names();                     // all scored_as, each once

// Whether the command trains this stage: its own command does, and `pipeline` does if the stage is part of it.
bool trains(const std::string& command, const StageSpec& stage, const Recipe& recipe);

// ConfigError for guidance by a teacher that this recipe trains with every label: its velocity without a label comes from an untrained row of the label table.
void check_null_label(const Recipe& recipe);

// Checks the settings of a generator's objective against its loop, labels, guidance and number of ranks: ConfigError. Stages that train no generator have no
// such checks.
void check_settings(const StageSpec& stage, const Recipe& recipe, int ranks);

// The stages whose results this one needs, in order.
std::vector<const StageSpec*> needs(const StageSpec& stage, const Recipe& recipe);

// For help texts. Returns the recipe's keys and sections ("guidance", "dit", "mfd") that a training of this stage does not read, as listed in
// stage_entries.cpp.
std::vector<std::string> entries_unread(const StageSpec& stage);
// Returns the recipe's keys and sections except those in `names`. Throws Error for a name that the recipe does not have.
std::vector<std::string> entries_besides(const std::vector<std::string>& names);
inline constexpr const char* lists_all_entries = "flowmap_train pipeline --help";

std::string words(const std::vector<std::string>& list, const char* last);   // "cmt, mfd and mft"
std::string newest_first(const std::vector<std::string>& list);              // "mft, mfd, cmt"

}  // namespace fm
