#include "apps/ablate/latents.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "apps/ablate/trainings.h"
#include "apps/cli/toml.h"
#include "apps/run/run_observer.h"
#include "apps/run/signals.h"
#include "apps/train/describe.h"
#include "data/image_file.h"
#include "data/png.h"
#include "flowmap/training/ablation/identity.h"
#include "flowmap/training/ablation/latents.h"
#include "flowmap/training/ablation/scoring.h"
#include "flowmap/training/chain/evaluation.h"
#include "flowmap/training/chain/spaces.h"
#include "tensor/error.h"
#include "tensor/memory/allocator.h"

namespace fm {
namespace {

// A side with what its run refers to.
struct OpenSide {
  Recipe recipe;
  Context context;
  std::unique_ptr<TrainingRun> run;
  Findings findings;

  // The context refers to the recipe, so a side stays where it was made.
  OpenSide(const OpenSide&) = delete;
  OpenSide& operator=(const OpenSide&) = delete;
  OpenSide(const Recipe& of, const Context& from, const std::string& config_file) : recipe(of), context(from) {
    context.fields = list_fields(recipe);                            // stages store the config of their side, not the program's
    context.launch.config_file = config_file;
    context.launch.out = (std::filesystem::path(from.launch.out) / recipe.space).string();
    run = std::make_unique<TrainingRun>(recipe, run_context(context));
  }
  const std::string& name() const { return recipe.space; }
};

// Settings of the command line, which are for both sides. The names of space and network are the sides' own, and ablate's own options are not part of a recipe.
void take_flags(const std::vector<Assignment>& given, Recipe& other) {
  const std::vector<Field> fields = list_fields(other);
  for (const Assignment& a : given) {
    if (a.key == "space" || a.key == "network") continue;
    const auto field = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.path == a.key; });
    if (field != fields.end()) set_from_text(*field, a.text, a.where);
  }
}

Recipe other_side(const AblateConfig& config, const std::vector<Assignment>& given) {
  if (config.against.empty()) throw ConfigError("--what latents needs --against CONFIG, the recipe of the other latent space, such as configs/fashion_mnist_vae.toml");
  Recipe r;
  load_toml_file(list_fields(r), config.against);
  take_flags(given, r);
  if (r.space == config.recipe.space)
    throw ConfigError(fmt::format("--what latents: both recipes have space = \"{}\": name a recipe of another latent space with --against", r.space));
  if (config.steps > 0) stretch(r.mfd.loop, config.steps);
  return r;
}

// ConfigError if a stage before the flow maps was trained in an earlier call with other settings: such a stage would be reused as it is.
void check_base(const OpenSide& side) {
  for (const StageSpec& stage : stage_table())
    if (stage.makes != Makes::flow_map && stage.in_pipeline(side.recipe)) check_trained_alike(*side.run, stage);
}

// Trains the stages before the flow maps as `flowmap_train pipeline` does; finished stages are skipped.
Outcome train_base(OpenSide& side) {
  RunContext context = run_context(side.context);
  context.command = "pipeline", context.variants = false;
  TrainingRun run(side.recipe, context);
  run.preflight();
  for (const StageSpec& stage : stage_table()) {
    if (stage.makes == Makes::flow_map) continue;
    if (stage.makes == Makes::latents && run.lacks_cached_latents()) run.encode_latents();
    if (stage.in_pipeline(side.recipe) && stage.run(run, stage) == Outcome::stopped) return Outcome::stopped;
    throw_if_stop_requested();
  }
  return Outcome::finished;
}

// Trains CMT with and without guidance, and makes their folders the starts of the variants.
Outcome train_starts(OpenSide& side, Runs& runs, bool fresh) {
  for (const Variant& start : latents_starts(side.recipe)) {
    Trial trial{.seed = side.recipe.seed};
    if (train_trial(runs.of(start), side.findings.what, start, trial, fresh) == Outcome::stopped) return Outcome::stopped;
    if (trial.diverged) throw ConfigError(fmt::format("--what latents: {} of {} diverged: lower cmt.loop.rate.peak", start.name, side.name()));
    for (Variant& v : side.findings.variants)
      if (v.start == start.name) v.start = trial.folder;
  }
  return Outcome::finished;
}

// The teacher's own samples and, if the space has an autoencoder, its reconstructions, for comparison.
void score_levels(OpenSide& side) {
  EvaluateRequest request{.stages = {stage_that_makes(Makes::teacher).scored_as}, .features = {}};
  if (const StageSpec* decoder = decoder_stage(side.recipe)) request.stages.insert(request.stages.begin(), decoder->scored_as);
  evaluate_run(*side.run, request, [&](const Score& s) {
    const bool generated = s.calls > 0;
    side.findings.levels.push_back({generated ? fmt::format("{} (guided), {} calls", s.name, s.calls) : s.name, "the same score in every column of calls", s});
  });
}

Outcome train_side(OpenSide& side, const AblateConfig& config, const std::vector<std::int64_t>& seeds, bool fresh) {
  if (train_base(side) == Outcome::stopped) return Outcome::stopped;
  TrainingRun& run = *side.run;
  run.prepare_stats();
  Runs runs(run, side.context);
  if (train_starts(side, runs, fresh) == Outcome::stopped) return Outcome::stopped;
  Findings& f = side.findings;
  measure_costs(*trained_subject(run), f, seeds, config.timing_rounds, side.context.log);
  release_cached_memory();                                             // memory of the timed steps, which the trainings need
  for (Trial& t : f.trials) {
    const Variant& v = f.variants[t.variant];
    if (train_trial(runs.of(v), f.what, v, t, fresh) == Outcome::stopped) return Outcome::stopped;
    t.course = course_of(metrics_of(run.root(), v, t));
    t.own = latents_costs(side.recipe, t, v);
  }
  score(run, f);
  score_levels(side);
  return Outcome::finished;
}

// Both sides' grids below each other.
std::string stacked(const std::vector<std::string>& pngs) {
  std::vector<Image> images;
  int width = 0, height = 0;
  for (const std::string& png : pngs) {
    if (png.empty()) continue;
    images.push_back(with_channels(decode_image({reinterpret_cast<const std::uint8_t*>(png.data()), png.size()}, "samples.png"), 3));
    width = std::max(width, images.back().width), height += images.back().height;
  }
  if (images.empty()) return {};
  Image all = blank_image(width, height, 3, 255);
  auto to = all.pixels.begin();
  for (const Image& image : images)
    for (int y = 0; y < image.height; ++y, to += 3 * width) std::copy_n(image.pixels.begin() + 3 * y * image.width, 3 * image.width, to);
  const std::vector<std::uint8_t> png = encode_png(all);
  return {png.begin(), png.end()};
}

// ConfigError for an option of ablate that this comparison does not read.
void refuse_other_options(const AblateConfig& config) {
  if (!config.vary.empty()) throw ConfigError("--vary: --what latents compares fixed trainings: leave --vary out");
  if (config.equal != "steps") throw ConfigError(fmt::format("--equal {}: --what latents gives all flow maps equal steps and batches: leave --equal out", config.equal));
  if (config.jobs > 1 || config.trial >= 0) throw ConfigError("--jobs and --trial: --what latents trains one flow map after the other: leave them out");
  AblateConfig plain, given = config;
  const std::vector<Field> before = list_fields(plain), now = list_fields(given);
  for (std::size_t i = 0; i < now.size(); ++i)
    for (const char* key : {"objectives", "deltas", "lambdas", "poor_share", "precisions", "lambda_start"})
      if (now[i].path == key && to_text(now[i]) != to_text(before[i]))
        throw ConfigError(fmt::format("--{} {}: --what latents compares fixed trainings and does not read this option: leave it out", now[i].rule.flag, to_text(now[i])));
}

}  // namespace

int compare_latents(AblateConfig& config, Context& context, bool fresh) {
  refuse_other_options(config);
  if (context.launch.out.empty()) throw ConfigError("--out is missing: give the folder for both runs and the report");
  const Recipe other = other_side(config, context.assignments);
  if (config.steps > 0) stretch(config.recipe.mfd.loop, config.steps);
  std::vector<std::unique_ptr<OpenSide>> sides;
  sides.push_back(std::make_unique<OpenSide>(config.recipe, context, context.launch.config_file));
  sides.push_back(std::make_unique<OpenSide>(other, context, config.against));
  check_equal_work(sides[0]->recipe, sides[1]->recipe);
  for (const auto& side : sides) check_base(*side);
  const std::vector<std::int64_t> all = seeds(config);
  for (auto& side : sides) {
    side->findings = {.what = "latents", .subtitle = {}, .variants = latents_variants(side->recipe), .trials = {}, .calls = parse_steps(side->recipe.evaluate.steps), .own_columns = latents_columns(), .busy = {}};
    if (!context.launch.dry_run) continue;
    context.log.info("{}: {}, {}", side->name(), side->recipe.network.size(true), to_string(side->recipe.latent_shape()));
    for (const Variant& v : latents_starts(side->recipe)) context.log.info("{}", describe(v));
    for (const Variant& v : side->findings.variants) context.log.info("{}", describe(v));
  }
  if (context.launch.dry_run) return exit_code::finished;
  for (auto& side : sides)
    if (train_side(*side, config, all, fresh) == Outcome::stopped) return exit_code::stopped_early;
  const std::string grid = stacked({sides[0]->findings.shown.grid, sides[1]->findings.shown.grid});
  std::vector<Side> scored;
  for (auto& side : sides) scored.push_back({side->name(), std::move(side->findings)});
  Findings joint = joined(std::move(scored));
  joint.shown.grid = grid;
  const std::filesystem::path out = context.launch.out;
  joint.subtitle = fmt::format("runs in {}: seeds {} of the flow maps, {}", out.string(), fmt::join(all, ", "), scored_text(joint));
  publish(out / "ablate" / joint.what, joint, out, context.log);
  return exit_code::finished;
}

}  // namespace fm
