// ablate: what a choice costs and what it buys, everything else equal. What is compared stands in apps/ablate/variants.h.
#include "apps/ablate/report.h"
#include "apps/support/program.h"
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
void tell(TrainingRun& run, const std::vector<Variant>& list) {
  const ShapesOnly shapes;
  Logger& log = run.context().log;
  log.info("student {}", training_size(parameter_count(run.new_student(0), true)));
  for (const Variant& v : list) log.info("{}", describe(v));
}

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

// Of a variant's averaged weights, one for each number of calls.
std::vector<Score> scores(TrainingRun& run, Evaluator& evaluator, const Variant& v, const std::vector<int>& calls) {
  std::vector<Score> list;
  const DitDh student = run.load_student(v.stage);
  for (int n : calls) list.push_back(evaluator.score(v.name, flow_map_generator(flow_map_net(student), n), n));
  return list;
}

int ablate(AblateConfig& config, Context& context) {
  refuse_one_start_for_all(context.launch);
  TrainingRun run(config.recipe, context);
  const std::vector<Variant> list = variants(config);
  if (context.launch.dry_run) return tell(run, list), exit_code::finished;

  run.need_folder();
  run.prepare_stats();
  std::vector<Finding> findings;
  for (const Variant& v : list) findings.push_back({.variant = v});
  if (config.what == "derivative") {
    const auto costs = step_costs(run, list, config.timing_rounds);
    for (std::size_t i = 0; i < costs.size(); ++i) findings[i].cost = costs[i];
  }
  for (Finding& f : findings)
    if (train(run, f) == Outcome::stopped) return exit_code::stopped_early;
  Evaluator evaluator(run);
  const std::vector<int> calls = parse_steps(config.recipe.evaluate.steps);
  for (Finding& f : findings)
    if (!f.diverged) f.scores = scores(run, evaluator, f.variant, calls);

  const Table table = table_of(config.what, findings, calls);
  const auto folder = run.root() / "ablate" / config.what;
  write_atomically(folder / "table.csv", csv_text(table));
  write_atomically(folder / "report.html", report_html(run, config.what, findings, table));
  fmt::print("{}", terminal_text(table));
  context.log.info("table    {}", (folder / "table.csv").string());
  context.log.info("report   {}", (folder / "report.html").string());
  return exit_code::finished;
}

}  // namespace

int main(int argc, char** argv) {
  Program program{.name = "ablate", .summary = "Compares choices of MeanFlow training from one starting point.",
                  .quickstart = "ablate --config configs/quickstart.toml --out runs/quickstart --what derivative"};
  program.add<AblateConfig>({.name = "", .help = "train and compare the variants", .trains = true}, ablate);
  return run_program(program, argc, argv);
}
