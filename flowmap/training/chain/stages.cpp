#include "flowmap/training/chain/stages.h"

#include <algorithm>

#include "flowmap/training/chain/costs.h"
#include "flowmap/training/chain/decoder_memory.h"
#include "flowmap/training/chain/spaces.h"
#include "flowmap/training/chain/training_run.h"
#include "flowmap/training/stage.h"
#include "nn/training/parallel.h"

namespace fm {
namespace {

constexpr const char* quickstart = "--config configs/quickstart.toml --out runs/quickstart";

template <auto Part> const LoopConfig& loop_of(const Recipe& r) { return (r.*Part).loop; }
template <auto Train> Outcome run_by(TrainingRun& run, const StageSpec&) { return (run.*Train)(); }

Outcome encode(TrainingRun& run, const StageSpec&) { return run.encode_latents(), Outcome::finished; }
Outcome prepare_stats(TrainingRun& run, const StageSpec&) { return run.prepare_stats(), Outcome::finished; }
Outcome train_generator(TrainingRun& run, const StageSpec& stage) { return run.train_generator(stage); }

const char* start_of_cmt(const Recipe&) { return stage_name::fm; }
const char* start_of_mfd(const Recipe&) { return stage_name::cmt; }
const char* start_of_mft(const Recipe& r) { return r.mfd.loop.steps > 0 ? stage_name::mfd : stage_name::cmt; }

const char* start_of_map(const Recipe& r) {
  if (r.map.start == "random") return nullptr;
  return r.map.start == "teacher" ? stage_name::fm : r.map.start.c_str();
}

template <auto Part> Objective objective(const Recipe& r, const std::string& keys) { return make_objective((r.*Part).objective, keys); }
Objective objective_of_map(const Recipe& r, const std::string& keys) { return r.map.objective.chosen(keys); }
template <auto Part> const std::string& velocity(const Recipe& r) { return (r.*Part).velocity; }

template <class M, class Config> ParameterCount counted(const Config& config) {
  const ShapesOnly shapes;
  const M model(config);
  return {parameter_count(model), parameter_count(model, true)};
}
ParameterCount judge_parameters(const Recipe& r) { return counted<Judge>(r.judge.model); }
ParameterCount encoder_parameters(const Recipe& r) { return counted<VitEncoder>(r.rae.encoder); }
ParameterCount decoder_parameters(const Recipe& r) { return counted<RaeDecoder>(r.rae.decoder); }
ParameterCount vae_parameters(const Recipe& r) { return counted<AutoencoderKL>(r.vae.model); }
ParameterCount network_parameters(const Recipe& r, bool two_times) {
  const NetworkCost c = r.network.cost(two_times);
  return {c.all(), c.trained()};
}
ParameterCount teacher_parameters(const Recipe& r) { return network_parameters(r, false); }
ParameterCount flow_map_parameters(const Recipe& r) { return network_parameters(r, true); }

std::int64_t pixels(const Recipe& r) { return r.channels * r.image_size * r.image_size; }
std::int64_t judge_values(const Recipe& r) { return pixels(r) + r.judge.model.width * r.image_size * r.image_size; }
std::int64_t encoder_values(const Recipe& r) { return pixels(r) + values_through_encoder(r); }

// Four tensors of each residual block, in encoder and decoder.
std::int64_t vae_values(const Recipe& r) {
  const auto& c = r.vae.model;
  std::int64_t sum = pixels(r), side = r.image_size;
  for (const std::int64_t width : c.widths) sum += 4 * (2 * c.resnets + 1) * width * side * side, side /= 2;
  return sum;
}

const StageSpec table[] = {
    {.name = stage_name::judge, .help = "the classifier that evaluates samples", .makes = Makes::classifier,
     .run = run_by<&TrainingRun::train_judge>, .example = "--config configs/fashion_mnist_judge.toml --out runs/judge",
     .loop = loop_of<&Recipe::judge>, .given_key = "judge_weights", .given = &Recipe::judge_weights, .file = "judge.safetensors",
     .parameters = judge_parameters, .values_a_row = judge_values},
    {.name = stage_name::encoder, .help = "self-supervised encoder (DINO)", .makes = Makes::encoder,
     .run = run_by<&TrainingRun::train_encoder>, .example = "--config configs/fashion_mnist_encoder.toml --out runs/encoder",
     .loop = loop_of<&Recipe::encoder>, .given_key = "encoder_weights", .given = &Recipe::encoder_weights, .file = "encoder.safetensors",
     .parameters = encoder_parameters, .values_a_row = encoder_values},
    {.name = stage_name::decoder, .help = "decoder of the frozen encoder's latents (RAE)", .makes = Makes::decoder,
     .run = run_by<&TrainingRun::train_decoder>, .example = quickstart, .loop = loop_of<&Recipe::decoder>, .given_key = "decoder_weights",
     .given = &Recipe::decoder_weights, .parameters = decoder_parameters, .beside = beside_decoder, .values_a_row = decoder_values, .scored_as = "reconstruction"},
    {.name = stage_name::vae, .help = "variational autoencoder (KL), encoder and decoder at once", .makes = Makes::autoencoder,
     .run = run_by<&TrainingRun::train_vae>, .example = "--config configs/fashion_mnist_vae.toml --out runs/vae", .loop = loop_of<&Recipe::vae>,
     .given_key = "vae_weights", .given = &Recipe::vae_weights, .parameters = vae_parameters, .values_a_row = vae_values, .scored_as = "reconstruction"},
    {.name = stage_name::encode, .help = "latents of all training images, written to files for trainings with --latents cache",
     .makes = Makes::latents, .run = encode, .example = quickstart},
    {.name = stage_name::stats, .help = "mean and variance of the latents", .makes = Makes::statistics, .run = prepare_stats,
     .example = quickstart, .given_key = "stats_file", .given = &Recipe::stats_file},
    {.name = stage_name::fm, .help = "flow-matching teacher", .makes = Makes::teacher, .run = train_generator,
     .example = quickstart, .loop = loop_of<&Recipe::fm>, .given_key = "teacher_weights", .given = &Recipe::teacher_weights,
     .objective = objective<&Recipe::fm>, .parameters = teacher_parameters, .scored_as = "teacher"},
    {.name = stage_name::cmt, .help = "consistency mid-training from the teacher's trajectories", .makes = Makes::flow_map,
     .run = train_generator, .example = quickstart, .loop = loop_of<&Recipe::cmt>, .epochs = false, .start = start_of_cmt,
     .objective = objective<&Recipe::cmt>, .parameters = flow_map_parameters, .scored_as = stage_name::cmt},
    {.name = stage_name::mfd, .help = "MeanFlow distillation, from the cmt stage", .makes = Makes::flow_map,
     .run = train_generator, .example = quickstart, .loop = loop_of<&Recipe::mfd>, .start = start_of_mfd,
     .objective = objective<&Recipe::mfd>,
     .velocity = velocity<&Recipe::mfd>, .mean_flow = &Recipe::mfd, .parameters = flow_map_parameters,
     .scored_as = stage_name::mfd},
    {.name = stage_name::mft, .help = "MeanFlow training on data, from the mfd stage", .makes = Makes::flow_map,
     .run = train_generator, .example = "--config configs/quickstart.toml --out runs/quickstart --steps 300",
     .loop = loop_of<&Recipe::mft>, .start = start_of_mft, .objective = objective<&Recipe::mft>,
     .velocity = velocity<&Recipe::mft>,
     .mean_flow = &Recipe::mft, .parameters = flow_map_parameters, .scored_as = stage_name::mft},
    {.name = stage_name::map, .help = "flow map by any objective, from the teacher or another stage", .makes = Makes::flow_map,
     .run = train_generator, .example = "--config configs/quickstart.toml --out runs/quickstart --steps 300",
     .loop = loop_of<&Recipe::map>, .start = start_of_map, .objective = objective_of_map, .velocity = velocity<&Recipe::map>,
     .parameters = flow_map_parameters, .scored_as = stage_name::map},
};

// Refuses guidance by the teacher inside a target that the network guides too: the scales would multiply.
void check_guided_once(const StageSpec& stage, const Recipe& r, const Needs& needs) {
  const std::string velocity = stage.velocity_in(r);
  if (!needs.labels || !needs.velocity || teacher_share(velocity) == 0 || r.guidance == 1) return;
  throw ConfigError(fmt::format("{0}.objective guides its own targets, and with {0}.velocity = \"{1}\" and guidance = {2:g} the teacher guides them too: set guidance = 1 "
                                "or {0}.velocity = \"one-point\"", stage.name, velocity, r.guidance));
}

template <class Chosen> std::vector<std::string> names_of(const Chosen& chosen) {
  std::vector<std::string> out;
  for (const StageSpec& s : table)
    if (chosen(s)) out.emplace_back(s.name);
  return out;
}

}  // namespace

std::span<const StageSpec> stage_table() { return table; }

const StageSpec* find_stage(std::string_view name) {
  const auto found = std::find_if(std::begin(table), std::end(table), [&](const StageSpec& s) { return name == s.name; });
  return found == std::end(table) ? nullptr : found;
}

const StageSpec& stage_named(std::string_view name) {
  if (const StageSpec* found = find_stage(name)) return *found;
  throw ConfigError(fmt::format("there is no stage '{}': known are {}", name, words(names_of([](const StageSpec&) { return true; }), "and")));
}

const StageSpec& stage_that_makes(Makes what) {
  return *std::find_if(std::begin(table), std::end(table), [&](const StageSpec& s) { return s.makes == what; });
}

std::vector<std::string> stages_that_make(Makes what) {
  return names_of([&](const StageSpec& s) { return s.makes == what; });
}

std::vector<std::string> generator_stages() { return names_of([](const StageSpec& s) { return s.is_generator(); }); }

std::vector<std::string> scored_names() {
  std::vector<std::string> out;
  for (const StageSpec& s : table)
    if (s.scored_as != nullptr && std::find(out.begin(), out.end(), s.scored_as) == out.end()) out.emplace_back(s.scored_as);
  return out;
}

void check_null_label(const Recipe& r) {
  if (r.guidance == 1 || r.fm.objective.labels.probability > 0) return;
  throw ConfigError(fmt::format("guidance = {:g} needs the teacher's velocity without a label, which {}.objective.labels.probability = 0 does not train: raise the "
                                "probability (0.1), or set guidance = 1", r.guidance, stage_that_makes(Makes::teacher).name));
}

void check_settings(const StageSpec& stage, const Recipe& recipe, int ranks) {
  if (!stage.is_generator()) return;
  const Objective objective = stage.objective_in(recipe);
  const LoopConfig& loop = stage.loop(recipe);
  objective.check(loop.steps);
  if (objective.needs.labels && !recipe.conditional)
    throw ConfigError(fmt::format("{}.objective guides its targets by labels, and this run has none: set conditional = true, or choose an objective without "
                                  "guidance", stage.name));
  check_guided_once(stage, recipe, objective.needs);
  if ((stage.makes == Makes::teacher || stage.is_taught(recipe)) && stage_that_makes(Makes::teacher).in_pipeline(recipe)) check_null_label(recipe);
  check_groups(std::string(stage.name), loop, objective.needs.group, ranks);
  const std::string& key = objective.exact_share;
  if (!key.empty() && !same_parts_as_alone(loop.batch, loop.micro_batch, ranks))
    throw ConfigError(fmt::format("{} counts rows in each micro-batch: on {} ranks set loop.micro_batch so that each rank gets the same number of whole micro-batches",
                                  key, ranks));
}

bool trains(const std::string& command, const StageSpec& stage, const Recipe& recipe) {
  return stage.loop != nullptr && (command == stage.name || (command == "pipeline" && stage.in_pipeline(recipe)));
}

std::vector<const StageSpec*> needs(const StageSpec& stage, const Recipe& recipe) {
  const SpaceSpec& space = space_of(recipe);
  const bool on_latents = stage.is_generator() || stage.makes == Makes::decoder || stage.makes == Makes::latents || stage.makes == Makes::statistics;
  // Whether the stage reads the images' encoder: for its latents, or for its feature loss.
  const auto reads = [&](Makes what) {
    if (what == Makes::autoencoder) return on_latents && space.uses(recipe, what);
    return what == Makes::encoder && (stage.makes == Makes::autoencoder || (on_latents && !space.uses(recipe, Makes::autoencoder))) && space.uses(recipe, what);
  };
  const char* start = stage.start == nullptr ? nullptr : stage.start(recipe);
  std::vector<const StageSpec*> out;
  for (const StageSpec& s : table) {
    const bool source = reads(s.makes) || (s.makes == Makes::teacher && stage.is_taught(recipe)) ||
                        (start != nullptr && std::string_view(start) == s.name);
    if (source) out.push_back(&s);
  }
  return out;
}

std::string newest_first(const std::vector<std::string>& list) { return fmt::format("{}", fmt::join(list.rbegin(), list.rend(), ", ")); }

std::string words(const std::vector<std::string>& list, const char* last) {
  if (list.size() < 2) return list.empty() ? "" : list[0];
  return fmt::format("{} {} {}", fmt::join(list.begin(), list.end() - 1, ", "), last, list.back());
}

}  // namespace fm
