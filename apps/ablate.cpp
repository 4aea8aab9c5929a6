// ablate: what a choice costs and what it buys, everything else equal. What is compared stands in apps/ablate/variants.h.
#include <map>
#include <memory>

#include "apps/ablate/report.h"
#include "apps/support/console.h"
#include "apps/support/program.h"
#include "data/source.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

using namespace fm;

namespace {

void refuse_one_start_for_all(const Launch& launch) {
  if (!launch.init_from.empty())
    throw ConfigError("--init-from: each variant has its own start (--dry-run lists them); it is for flowmap_train");
  if (launch.resume != "auto" && launch.resume != "never")
    throw ConfigError("--resume " + launch.resume + ": variants go on by themselves; a path is for one stage");
}

// --dry-run: writes nothing.
void tell(DitDhConfig student, const std::vector<Variant>& list, Logger& log) {
  const ShapesOnly shapes;
  student.mean_flow = true;
  log.info("student {}", training_size(parameter_count(DitDh(student, 0), true)));
  for (const Variant& v : list) log.info("{}", describe(v));
}

// The same run with students that compute in each of the variants' precisions.
class Runs {
 public:
  Runs(const Recipe& recipe, Context& context) : recipe_(recipe), context_(context) {}
  TrainingRun& in(const std::string& precision) {
    Entry& entry = runs_[precision];
    if (!entry.run) {
      entry.recipe = std::make_unique<Recipe>(recipe_);
      entry.recipe->dit.precision = precision;
      entry.run = std::make_unique<TrainingRun>(*entry.recipe, context_);
    }
    return *entry.run;
  }

 private:
  struct Entry {
    std::unique_ptr<Recipe> recipe;
    std::unique_ptr<TrainingRun> run;
  };
  const Recipe& recipe_;
  Context& context_;
  std::map<std::string, Entry> runs_;
};

// Divergence is a row of the table, not the end of it.
Outcome train(TrainingRun& run, Finding& f) {
  try {
    return train(run, f.variant);
  } catch (const DivergedError& e) {
    run.context().log.warning("{}", e.what());
    f.diverged = true;
    return Outcome::finished;
  }
}

void measure(const Subject& subject, std::int64_t rounds, std::vector<Finding>& findings, Logger& log) {
  std::vector<Variant> list;
  for (const Finding& f : findings) list.push_back(f.variant);
  const auto costs = step_costs(subject, list, rounds, log);
  for (std::size_t i = 0; i < costs.size(); ++i) findings[i].cost = costs[i];
}

void publish(const std::filesystem::path& folder, const std::string& subtitle, const std::string& what, const std::vector<Finding>& findings,
             const std::vector<int>& calls, Logger& log) {
  const Table table = table_of(what, findings, calls);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw FileError(fmt::format("--out: cannot make {}: {}", folder.string(), error.message()));
  remove_stale_temporaries(folder);    // of a process that was killed
  write_atomically(folder / "table.csv", csv_text(table));
  write_atomically(folder / "report.html", report_html(subtitle, what, findings, table));
  print_copy("{}", terminal_text(table));
  log.info("table    {}", (folder / "table.csv").string());
  log.info("report   {}", (folder / "report.html").string());
}

std::vector<Finding> as_findings(const std::vector<Variant>& list) {
  std::vector<Finding> findings;
  for (const Variant& v : list) findings.push_back({.variant = v});
  return findings;
}

// --untrained: no run is needed, only sizes.
int measure_untrained(AblateConfig& config, Context& context) {
  if (config.what != "derivative") throw ConfigError("--untrained: only --what derivative measures without training");
  if (context.launch.out.empty()) throw ConfigError("--out is missing: the folder for table.csv and report.html");
  Recipe& recipe = config.recipe;
  if (!recipe.has_sizes()) {
    const auto data = open_source(recipe.data, Split::train);
    recipe.take_sizes(data->height(), data->channels(), static_cast<std::int64_t>(data->class_names().size()));
  }
  recipe.resolve();
  const std::vector<Variant> list = variants(config);
  if (context.launch.dry_run) return tell(recipe.dit, list, context.log), exit_code::finished;
  std::vector<Finding> findings = as_findings(list);
  measure(untrained_subject(recipe), config.timing_rounds, findings, context.log);
  const DitDhConfig& d = recipe.dit;
  publish(std::filesystem::path(context.launch.out) / "ablate" / "untrained",
          fmt::format("random weights: width {}, {} blocks; head width {}, {}; {} tokens of {} channels; batch {}", d.width, d.depth, d.head_width,
                      d.head_depth, d.input_size * d.input_size / (d.patch_size * d.patch_size), d.channels, recipe.mfd.loop.batch),
          config.what, findings, {}, context.log);
  return exit_code::finished;
}

int ablate(AblateConfig& config, Context& context) {
  refuse_one_start_for_all(context.launch);
  if (config.precisions.empty()) throw ConfigError("precisions: name one at least, f32 or bf16");
  if (config.untrained) return measure_untrained(config, context);
  Runs runs(config.recipe, context);
  TrainingRun run(config.recipe, context);
  const std::vector<Variant> list = variants(config);
  if (context.launch.dry_run) return tell(run.recipe().dit, list, context.log), exit_code::finished;

  run.need_folder();
  run.prepare_stats();
  std::vector<Finding> findings = as_findings(list);
  if (config.what == "derivative") measure(trained_subject(run), config.timing_rounds, findings, context.log);
  for (Finding& f : findings)
    if (train(f.variant.precision == config.recipe.dit.precision ? run : runs.in(f.variant.precision), f) == Outcome::stopped)
      return exit_code::stopped_early;
  Evaluator evaluator(run);
  const std::vector<int> calls = parse_steps(config.recipe.evaluate.steps);
  for (Finding& f : findings)
    if (!f.diverged) f.scores = evaluator.score_student(f.variant.name, f.variant.stage, calls);
  publish(run.root() / "ablate" / config.what,
          fmt::format("run in {}: {} steps of MeanFlow each, {} samples", run.root().string(), config.recipe.mfd.loop.steps,
                      config.recipe.evaluate.samples),
          config.what, findings, calls, context.log);
  return exit_code::finished;
}

}  // namespace

int main(int argc, char** argv) {
  Program program{.name = "ablate", .summary = "Compares choices of MeanFlow training from one starting point.",
                  .quickstart = "ablate --config configs/quickstart.toml --out runs/quickstart --what derivative"};
  program.add<AblateConfig>({.name = "", .help = "train and compare the variants", .trains = true}, ablate);
  return run_program(program, argc, argv);
}
