// flowmap_train: one command a stage, and `pipeline` for all of them. What a stage is stands in apps/train/stage_*.cpp.
#include "apps/support/program.h"
#include "apps/support/ranks.h"
#include "apps/train/training_run.h"

using namespace fm;

namespace {

using StageFunction = std::function<int(TrainingRun&)>;

StageFunction outcome(Outcome (TrainingRun::*stage)()) {
  return [stage](TrainingRun& run) { return (run.*stage)() == Outcome::finished ? exit_code::finished : exit_code::stopped_early; };
}

// The stage's own steps, batch, ... get the short flags: --steps is --fm.loop.steps in `flowmap_train fm`.
std::vector<Field> with_stage_flags(std::vector<Field> fields, const std::string& stage) {
  for (Field& f : fields) {
    const std::string loop = stage + ".loop.", derivative = stage + ".objective.derivative.";
    if (f.path == derivative + "kind") f.rule.flag = "derivative";
    if (f.path == derivative + "delta") f.rule.flag = "fd-step";
    if (f.path == stage + ".velocity") f.rule.flag = "velocity";
    if (!stage.empty() && f.path.ends_with(".rate.peak") && f.path != loop + "rate.peak") f.rule.flag.clear();   // --lr is this stage's
    if (!f.path.starts_with(loop)) continue;
    std::string leaf = f.leaf();
    std::replace(leaf.begin(), leaf.end(), '_', '-');
    if (leaf != "peak" && f.path.find('.', loop.size()) == std::string::npos) f.rule.flag = leaf;
  }
  return fields;
}

void refuse_no_steps(Recipe& recipe, const std::string& stage) {
  for (const Field& f : list_fields(recipe))
    if (f.path == stage + ".loop.steps" && to_text(f) == "0")
      throw ConfigError(fmt::format("{} is 0, so that pipeline leaves this stage out; to train it give --steps", f.path));
}

// A stage of the quickstart, and how to run those that it leaves out.
std::string example_of(const std::string& name) {
  if (name == "judge" || name == "encoder")
    return fmt::format("flowmap_train {0} --config configs/fashion_mnist_{0}.toml --out runs/{0}", name);
  return fmt::format("flowmap_train {} --config configs/quickstart.toml --out runs/quickstart{}", name,
                     name == "mft" ? " --steps 300" : "");
}

void add_stage(Program& program, const std::string& name, const std::string& config_part, const std::string& help, StageFunction run) {
  auto recipe = std::make_shared<Recipe>();
  CommandInfo info{.name = name, .help = help, .trains = true, .parallel = true, .examples = {{help, example_of(name)}},
                   .own_config = [name](const std::string& out) { return stored_config(out, name); }};
  program.commands.push_back({std::move(info), [recipe, config_part] { return with_stage_flags(list_fields(*recipe), config_part); },
                              [recipe, config_part, run](Context& context) {
                                TrainingRun training(*recipe, context);
                                if (context.launch.dry_run) {
                                  if (context.ranks.first()) training.describe();
                                  training.preflight();
                                  return exit_code::finished;
                                }
                                refuse_no_steps(*recipe, config_part);
                                training.preflight();
                                return run(training);
                              }});
}

}  // namespace

int main(int argc, char** argv) {
  Program program{.name = "flowmap_train",
                  .summary = "Trains flow maps: generators that jump from noise to data in one or two network calls.",
                  .quickstart = "flowmap_train pipeline --config configs/quickstart.toml --out runs/quickstart"};
  add_stage(program, "pipeline", "", "all stages in order, then samples, scores and a report", run_pipeline);
  add_stage(program, "judge", "judge", "the classifier that evaluates samples", outcome(&TrainingRun::train_judge));
  add_stage(program, "encoder", "encoder", "self-supervised encoder (DINO)", outcome(&TrainingRun::train_encoder));
  add_stage(program, "decoder", "decoder", "decoder of the frozen encoder's latents (RAE)", outcome(&TrainingRun::train_decoder));
  add_stage(program, "encode", "", "latents of all training images into files that training reads (--latents cache)",
            [](TrainingRun& run) { return run.encode_latents(); });
  add_stage(program, "stats", "", "mean and variance of the latents", [](TrainingRun& run) {
    run.prepare_stats();
    return exit_code::finished;
  });
  add_stage(program, "fm", "fm", "flow-matching teacher", outcome(&TrainingRun::train_teacher));
  add_stage(program, "cmt", "cmt", "consistency mid-training from the teacher's trajectories", outcome(&TrainingRun::train_cmt));
  add_stage(program, "mfd", "mfd", "MeanFlow distillation, from the cmt stage", outcome(&TrainingRun::train_mfd));
  add_stage(program, "mft", "mft", "MeanFlow training on data, from the mfd stage", outcome(&TrainingRun::train_mft));
  return run_program(program, argc, argv);
}
