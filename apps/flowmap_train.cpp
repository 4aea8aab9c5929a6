// flowmap_train: one command per stage, and `pipeline` for all of them. flowmap/training/chain/stages.h describes the stages.
#include "apps/cli/program.h"
#include "apps/run/run_observer.h"
#include "apps/train/compare.h"
#include "apps/train/describe.h"
#include "apps/train/init.h"
#include "apps/train/pipeline.h"
#include "flowmap/training/chain/spaces.h"
#include "flowmap/training/chain/training_run.h"
#include "nn/training/ranks.h"

using namespace fm;

namespace {

// The stage's own steps, batch, ... get the short flags: --steps is --fm.loop.steps in `flowmap_train fm`.
std::vector<Field> with_stage_flags(std::vector<Field> fields, const std::string& stage) {
  for (Field& f : fields) {
    const std::string loop = stage + ".loop.", derivative = stage + ".objective.derivative.";
    if (f.path == derivative + "kind") f.rule.flag = "derivative";
    if (f.path == derivative + "delta") f.rule.flag = "fd-step";
    if (f.path == stage + ".velocity") f.rule.flag = "velocity";
    if (!stage.empty() && f.path.ends_with(".rate.peak") && f.path != loop + "rate.peak") f.rule.flag.clear();   // --lr sets the rate of this stage alone
    if (!f.path.starts_with(loop)) continue;
    std::string leaf = f.leaf();
    std::replace(leaf.begin(), leaf.end(), '_', '-');
    if (leaf != "peak" && f.path.find('.', loop.size()) == std::string::npos) f.rule.flag = leaf;
  }
  return fields;
}

void refuse_no_steps(const Recipe& recipe, const std::string& stage) {
  if (!stage.empty() && stage_named(stage).steps(recipe) == 0)
    throw ConfigError(fmt::format("{}.loop.steps is 0, so pipeline leaves this stage out: give --steps to train it", stage));
}

// `stage`: the stage that the command trains; null for the whole pipeline.
void add_command(Program& program, const std::string& name, const char* help, const char* example, const StageSpec* stage,
                 std::function<int(TrainingRun&)> run) {
  auto recipe = std::make_shared<Recipe>();
  const std::string part = stage == nullptr || stage->loop == nullptr ? "" : stage->name;
  CommandInfo info{.name = name, .help = help, .trains = true, .parallel = true,
                   .examples = {{help, fmt::format("flowmap_train {} {}", name, example)}},
                   .own_config = [name](const std::string& out) { return stored_config(out, name); },
                   .unlisted = stage == nullptr ? std::vector<std::string>() : entries_unread(*stage), .listed_by = lists_all_entries};
  program.commands.push_back({std::move(info), [recipe, part] { return with_stage_flags(list_fields(*recipe), part); },
                              [recipe, part, stage, run](Context& context) {
                                TrainingRun training(*recipe, run_context(context));
                                if (stage != nullptr) check_stage(*stage, *recipe);
                                if (context.launch.dry_run) {
                                  if (context.ranks.first()) describe(training);
                                  training.preflight();
                                  return exit_code::finished;
                                }
                                refuse_no_steps(*recipe, part);
                                training.preflight();
                                return run(training);
                              }});
}

}  // namespace

int main(int argc, char** argv) {
  constexpr const char* quickstart = "--config configs/quickstart.toml --out runs/quickstart";
  Program program{.name = "flowmap_train",
                  .summary = "Trains flow maps: generators that jump from noise to data in one or two network calls.",
                  .quickstart = fmt::format("flowmap_train pipeline {}", quickstart)};
  add_command(program, "pipeline", "all stages in order, then samples, scores and a report", quickstart, nullptr, run_pipeline);
  program.add<InitCommand>({.name = "init", .help = "config for data of your own, and its time and memory on this machine",
                            .examples = {{"a config for a folder of images", "flowmap_train init --data folder:PATH --out runs/own"}}}, run_init);
  program.add<CompareCommand>({.name = "compare", .help = "page that compares runs, stages or variants of ablations", .has_folder = false,
                               .examples = {{"two runs side by side", "flowmap_train compare runs/a runs/b --out comparison.html"},
                                            {"the flow maps of two runs and a variant", "flowmap_train compare runs/a/mfd runs/b/mfd runs/a/ablate/objective/lsd"}}}, run_compare);
  for (const StageSpec& s : stage_table())
    add_command(program, s.name, s.help, s.example, &s,
                [&s](TrainingRun& run) { return s.run(run, s) == Outcome::finished ? exit_code::finished : exit_code::stopped_early; });
  return run_program(program, argc, argv);
}
