#include "apps/ablate/trainings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/cli/console.h"
#include "flowmap/training/ablation/busy.h"
#include "flowmap/training/ablation/earlier_tables.h"
#include "flowmap/training/ablation/identity.h"
#include "flowmap/training/move_aside.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace {

// Trains a variant of one part or two. Resumes from the newest checkpoint if one exists.
Outcome train_parts(TrainingRun& run, const Variant& v, const Trial& trial) {
  const std::vector<Recipe> parts = v.parts();
  if (parts.size() == 1) return run.train_variant(trial.folder, v.stage(), v.recipe, v.start, trial.seed);
  const std::string first = trial.folder + "/" + first_part;
  if (run.train_variant(first, v.stage(), parts[0], v.start, trial.seed) == Outcome::stopped) return Outcome::stopped;
  return run.train_variant(trial.folder, v.stage(), parts[1], first, trial.seed);
}

std::uint64_t batch_seed(std::int64_t seed) { return 12345 + static_cast<std::uint64_t>(seed); }   // for timed steps; no training uses it

// Identifies a comparison: the folders of its trainings, and how they were scored. Untrained variants have no folders; their sizes take this place.
std::string comparison_text(const Findings& f) {
  std::string out = fmt::format("calls {}, {}\n", fmt::join(f.calls, ","), scored_text(f));
  for (const Trial& t : f.trials) out += fmt::format("{}, seed {}: {}\n", f.variants[t.variant].name, t.seed, t.folder.empty() ? f.subtitle : t.folder);
  return out;
}

}  // namespace

Outcome train_trial(TrainingRun& run, const std::string& what, const Variant& v, Trial& trial, bool fresh) {
  const Identity id = identity(run, v, trial.seed);
  trial.folder = folder_of(what, v, trial.seed, id);
  if (fresh && std::filesystem::exists(run.root() / trial.folder)) move_aside(run.root() / trial.folder, run.context().log);
  if (const std::string apart = claim_folder(run.root() / trial.folder, id); !apart.empty())
    run.context().log.info("{}, seed {}: trained anew in {}: {}", v.name, trial.seed, trial.folder, apart);
  try {
    return train_parts(run, v, trial);
  } catch (const DivergedError& e) {
    run.context().log.warning("{}", e.what());
    trial.diverged = true;
    return Outcome::finished;
  }
}

void measure_costs(Subject& subject, Findings& f, const std::vector<std::int64_t>& seeds, std::int64_t rounds, Messages& log) {
  const BusyWatch watch;
  std::vector<double> spreads;
  for (const std::int64_t seed : seeds) {
    const auto costs = step_costs(subject, f.variants, batch_seed(seed), rounds, log);
    for (std::size_t i = 0; i < costs.size(); ++i) {
      f.trials.push_back({.variant = i, .seed = seed, .cost = costs[i]});
      spreads.push_back(costs[i].spread);
    }
  }
  f.busy = busy_line(watch.others(), spreads);
  log.info("{}", f.busy);
}

void list_trials(Findings& f, const std::vector<std::int64_t>& seeds) {
  for (const std::int64_t seed : seeds)
    for (std::size_t i = 0; i < f.variants.size(); ++i) f.trials.push_back({.variant = i, .seed = seed});
}

std::string scored_text(const Findings& f) {
  for (const Trial& t : f.trials) {
    if (t.scores.empty()) continue;
    const Score& s = t.scores[0];
    return fmt::format("{} samples{}", s.samples, s.has_usual_features() ? "" : " in " + s.features);
  }
  return "0 samples";
}

void publish(const std::filesystem::path& folder, const Findings& f, const std::filesystem::path& run, Messages& log) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw FileError(fmt::format("--out: cannot create {}: {}", folder.string(), error.message()));
  remove_stale_temporaries(folder);    // left by a process that was killed
  const Table table = table_of(f);
  keep_earlier_tables(folder, comparison_text(f), log);
  write_atomically(folder / "trials.csv", trials_csv(f));
  write_atomically(folder / "table.csv", csv_text(table));
  write_atomically(folder / "table.md", markdown_text(table));
  write_atomically(folder / "table.tex", latex_text(table));
  if (!f.shown.grid.empty()) write_atomically(folder / "samples.png", f.shown.grid);
  write_atomically(folder / "report.html", report_html(f, table, run));
  print_copy("{}", terminal_text(table));
  if (!f.busy.empty()) log.info("{}", f.busy);
  log.info("table    {} (also .md, .tex; each training in trials.csv)", (folder / "table.csv").string());
  log.info("report   {}", (folder / "report.html").string());
}

}  // namespace fm
