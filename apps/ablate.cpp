// ablate: the cost and the benefit of one choice when everything else is equal. flowmap/training/ablation/variants.h lists the comparisons.
#include <algorithm>
#include <utility>

#include "apps/ablate/latents.h"
#include "apps/ablate/trainings.h"
#include "apps/cli/program.h"
#include "apps/run/jobs.h"
#include "apps/run/run_observer.h"
#include "apps/run/signals.h"
#include "apps/train/describe.h"
#include "data/source.h"
#include "flowmap/training/ablation/identity.h"
#include "flowmap/training/ablation/lambda.h"
#include "flowmap/training/ablation/report.h"
#include "flowmap/training/ablation/scoring.h"
#include "flowmap/training/chain/spaces.h"
#include "flowmap/training/move_aside.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/memory/allocator.h"

using namespace fm;

namespace {

void refuse_one_start_for_all(const Launch& launch) {
  if (!launch.init_from.empty())
    throw ConfigError("--init-from is for flowmap_train: here each variant has its own start (--dry-run lists the starts): leave --init-from out");
  if (launch.resume != "auto" && launch.resume != "never")
    throw ConfigError("--resume " + launch.resume + ": ablate finds the checkpoints of all trainings by itself, and a checkpoint fits only one of them: leave --resume out");
}

// For --dry-run: prints the variants and writes nothing.
void print_plan(const Recipe& recipe, const std::vector<Variant>& list, const std::vector<std::int64_t>& seeds, Messages& log) {
  log.info("student {}", training_size(list.front().stage().parameters(recipe).trained));
  for (const Variant& v : list) log.info("{}", describe(v));
  if (seeds.size() > 1) log.info("{} trainings: seeds {}", list.size() * seeds.size(), fmt::join(seeds, ", "));
}

// For --what lambda: trains the poor teacher (few steps, lambda.h) and gives its weights to the variants that learn from it.
Outcome train_poor_teacher(TrainingRun& run, const AblateConfig& config, Findings& f, bool fresh) {
  const Variant v = poor_teacher(config);
  Trial trial{.seed = config.recipe.seed};
  if (config.trial >= 0) {                                             // the process that started this one has trained the poor teacher
    trial.folder = folder_of(f.what, v, trial.seed, identity(run, v, trial.seed));
    if (!run.has(trial.folder))
      throw FileError(fmt::format("--trial: {} has no checkpoint of the briefly trained teacher of --what lambda: run ablate without --trial, which trains it first",
                                  (run.root() / trial.folder).string()));
  } else if (train_trial(run, f.what, v, trial, fresh) == Outcome::stopped) {
    return Outcome::stopped;
  }
  if (trial.diverged) throw ConfigError("--what lambda: the briefly trained teacher diverged: lower fm.loop.rate.peak, or raise --poor-share");
  use_poor_teacher(f.variants, (run.root() / trial.folder).string() + ":ema");
  return Outcome::finished;
}

// --untrained: needs no run, only the sizes of data and network.
int measure_untrained(AblateConfig& config, Context& context) {
  const std::string what = comparison(config);
  if (what != "derivative" && what != "objective") throw ConfigError("--untrained is only for --what derivative and --what objective: leave it out, or change --what");
  if (context.launch.out.empty()) throw ConfigError("--out is missing: give the folder for table.csv and report.html");
  Recipe& recipe = config.recipe;
  recipe.resolve_with_data();
  const std::vector<std::int64_t> all = seeds(config);
  Findings f{.what = what, .subtitle = {}, .variants = variants(config, chosen_objectives(config, true).names), .trials = {}, .calls = {}, .busy = {}};
  f.subtitle = fmt::format("random weights: {}; samples {}; batch {}", recipe.network.size(true), to_string(recipe.latent_shape()),
                           f.variants[0].stage().loop(f.variants[0].recipe).batch);
  if (context.launch.dry_run) return print_plan(recipe, f.variants, all, context.log), exit_code::finished;
  measure_costs(*untrained_subject(recipe), f, all, config.timing_rounds, context.log);
  const std::filesystem::path out = context.launch.out;
  publish(out / "ablate" / (what == "objective" ? "untrained-objective" : "untrained"), f, out, context.log);
  return exit_code::finished;
}

// For --equal time: steps follow from measured times, which differ from start to start. The file keeps the steps of the first start.
void keep_equal_steps(const std::filesystem::path& file, std::vector<Variant>& list, Messages& log) {
  std::string text;
  for (const Variant& v : list) text += fmt::format("{} = {}\n", v.name, v.steps());
  if (!std::filesystem::exists(file)) {
    std::filesystem::create_directories(file.parent_path());
    return write_atomically(file, text);
  }
  const std::string stored = read_file(file);
  for (Variant& v : list) {
    const std::string key = "\n" + v.name + " = ", whole = "\n" + stored;
    const auto at = whole.find(key);
    std::int64_t steps = 0;
    const auto end = whole.find('\n', at == std::string::npos ? at : at + key.size());
    if (at == std::string::npos || !parse_integer(std::string_view(whole).substr(at + key.size(), end - at - key.size()), steps) || steps < 1)
      throw FileError(fmt::format("{}: there are no steps for {}; delete the file to measure anew", file.string(), v.name));
    set_steps(v, steps);
  }
  log.info("steps for equal time are those of {} (delete it to measure anew)", file.string());
}

// Name of the file with the steps of equal time. It depends on the settings of the variants: other settings get other steps.
std::string plan_name(TrainingRun& run, const std::vector<Variant>& list) {
  Identity all;
  for (const Variant& v : list) all.lines.push_back(v.name + "\n" + identity(run, v, 0).text());
  return "steps-" + all.key() + ".txt";
}

// Checks that each variant's schedules fit its steps, before anything is measured or trained. Leaves out the
// variants whose schedules do not fit if `may_leave_out`, else throws.
void check_schedules(std::vector<Variant>& list, bool may_leave_out, Messages* log) {
  std::erase_if(list, [&](const Variant& v) {
    try {
      for (const Recipe& part : v.parts()) check_settings(v.stage(), part, 1);
      return false;
    } catch (const ConfigError& e) {
      if (!may_leave_out) throw;
      if (log != nullptr) log->warning("{} is left out: {}", v.name, e.what());
      return true;
    }
  });
}

// Measures the costs, and sets the steps of equal work or, from the costs, the steps of equal time.
void measure_and_equalise(TrainingRun& run, const AblateConfig& config, Findings& f, const std::vector<std::int64_t>& seeds) {
  Messages& log = run.context().log;
  const bool by_time = config.equal == "time", one_of_many = config.trial >= 0;     // the process that started this one has measured
  const std::string plan = by_time ? plan_name(run, f.variants) : "";
  if (!by_time) equalise(f.variants, config.equal, {});
  check_schedules(f.variants, f.what == "objective" && config.objectives == "all" && !by_time, one_of_many ? nullptr : &log);
  if (one_of_many) list_trials(f, seeds);
  else measure_costs(*trained_subject(run), f, seeds, config.timing_rounds, log);
  if (!by_time) return;
  std::vector<StepCost> costs;
  for (std::size_t i = 0; i < f.variants.size(); ++i) costs.push_back(f.trials[i].cost.value_or(StepCost{.seconds = 1}));
  equalise(f.variants, config.equal, costs);
  const std::filesystem::path file = run.root() / "ablate" / f.what / plan;
  if (one_of_many && !std::filesystem::exists(file))
    throw FileError(fmt::format("--trial: {} is missing, which lists the steps of equal time: run ablate without --trial, which measures them", file.string()));
  keep_equal_steps(file, f.variants, log);
  check_schedules(f.variants, false, nullptr);
}

// Makes one training of the list, in a process that train_in_processes() started.
int train_one(TrainingRun& run, const AblateConfig& config, Findings& f, Context& context, bool fresh) {
  if (config.trial >= std::ssize(f.trials)) throw ConfigError(fmt::format("--trial {}: there are only {} trainings, counted from 0", config.trial, f.trials.size()));
  Runs runs(run, context);
  Trial& t = f.trials[static_cast<std::size_t>(config.trial)];
  const Outcome outcome = train_trial(runs.of(f.variants[t.variant]), f.what, f.variants[t.variant], t, fresh);
  return outcome == Outcome::finished ? exit_code::finished : exit_code::stopped_early;
}

int ablate(AblateConfig& config, Context& context) {
  refuse_one_start_for_all(context.launch);
  if (config.trial >= 0) stop_with_parent();
  const bool fresh = std::exchange(context.launch.fresh, false);       // train() applies it to the trainings' folders, whose contents identify their owner
  if (fresh) context.launch.resume = "auto";
  if (config.precisions.empty()) throw ConfigError("--precisions is empty: give f32, bf16 or both");
  if (config.untrained) return measure_untrained(config, context);
  if (!config.against.empty() && comparison(config) != "latents") throw ConfigError("--against is for --what latents: leave it out, or change --what");
  if (comparison(config) == "latents") return compare_latents(config, context, fresh);
  TrainingRun run(config.recipe, run_context(context));
  const std::vector<std::int64_t> all = seeds(config);
  const ObjectiveChoice objectives = chosen_objectives(config, run.has_teacher(), comparison(config) == "objective" && run.has_joint_teacher());
  if (config.trial < 0)
    for (const auto& [name, why] : objectives.left_out) context.log.warning("{} is left out: {}", name, why);
  Findings f{.what = comparison(config), .subtitle = {}, .variants = variants(config, objectives.names), .trials = {}, .in_plane = run.recipe().in_plane(), .calls = {}, .busy = {}};
  f.calls = parse_steps(config.recipe.evaluate.steps);
  f.guided_teacher = run.recipe().guidance != 1;
  if (context.launch.dry_run && f.what == "lambda") context.log.info("{}", describe(poor_teacher(config)));
  if (context.launch.dry_run) return print_plan(run.recipe(), f.variants, all, context.log), exit_code::finished;

  run.need_folder();
  run.preflight();
  if (f.what == "lambda") refuse_joint_teacher(run);
  run.prepare_stats();
  if (f.what == "lambda" && train_poor_teacher(run, config, f, fresh) == Outcome::stopped) return exit_code::stopped_early;
  measure_and_equalise(run, config, f, all);
  if (config.trial >= 0) return train_one(run, config, f, context, fresh);
  release_cached_memory();                                             // memory of the timed steps, which the trainings need
  if (config.jobs > 1 && run.recipe().latents.from == "memory" && space_of(run.recipe()).encodes)
    context.log.info("each of the {} trainings encodes all images once more: `flowmap_train encode`, and here --latents.from cache, avoid that", f.trials.size());
  if (config.jobs > 1) train_in_processes(context, training_order(f), config.jobs);
  throw_if_stop_requested();
  Runs runs(run, context);
  for (Trial& t : f.trials)
    if (train_trial(runs.of(f.variants[t.variant]), f.what, f.variants[t.variant], t, fresh && config.jobs == 1) == Outcome::stopped) return exit_code::stopped_early;
  for (Trial& t : f.trials) t.course = course_of(metrics_of(run.root(), f.variants[t.variant], t));
  score(run, f);
  if (f.what == "lambda") measure_lambda(run, [&](const Variant& v) -> TrainingRun& { return runs.of(v); }, f);
  f.subtitle = fmt::format("run in {}: {} variants, seeds {}, equal {}, {}", run.root().string(), f.variants.size(), fmt::join(all, ", "),
                           config.equal, scored_text(f));
  publish(run.root() / "ablate" / f.what, f, run.root(), context.log);
  return exit_code::finished;
}

}  // namespace

int main(int argc, char** argv) {
  Program program{.name = "ablate", .summary = "Compares trainings of the flow map that differ in one choice.",
                  .quickstart = "ablate --config configs/quickstart.toml --out runs/quickstart --what derivative"};
  program.add<AblateConfig>({.name = "", .help = "train and compare the variants", .trains = true,
                             .own_config = [](const std::string& out) { return stored_config(out); },
                             .unlisted = entries_besides({"seed", "guidance", "guidance_from", "guidance_to", "evaluate", stage_name::mfd}), .listed_by = lists_all_entries}, ablate);
  return run_program(program, argc, argv);
}
