#include "flowmap/training/chain/training_run.h"

#include <nlohmann/json.hpp>

#include "nn/training/ranks.h"
#include "data/class_names.h"
#include "data/grid.h"
#include "data/png.h"
#include "flowmap/sampler.h"
#include "flowmap/training/joint_generator.h"
#include "flowmap/training/published_features.h"
#include "nn/checkpoint.h"
#include "nn/config/removed_options.h"
#include "nn/config/toml_text.h"
#include "nn/flops/autoencoder.h"
#include "nn/models/lpips_weights.h"
#include "nn/models/published_weights.h"
#include "tensor/io/atomic_file.h"
#include "tensor/narrow.h"
#include "tensor/ops/elementwise.h"
#include "tensor/random/name_hash.h"

namespace fm {
namespace {

// Refuses an --out at or below a file. Without this check a stage that reads before it writes would report a missing input instead.
void refuse_file_in_the_way(const std::filesystem::path& out) {
  std::error_code ignored;
  for (std::filesystem::path p = out; !p.empty(); p = p.parent_path()) {
    const auto status = std::filesystem::status(p, ignored);
    if (std::filesystem::exists(status) && !std::filesystem::is_directory(status))
      throw ConfigError(fmt::format("--out {}: {} is a file; choose another folder", out.string(), p.string()));
    if (std::filesystem::exists(status) || !p.has_relative_path()) return;
  }
}

// "image_size 8", or "" if the config leaves the value to the data.
std::string said(const char* key, std::int64_t value) { return value > 0 ? fmt::format("{} {}", key, value) : ""; }

}  // namespace

TrainingRun::TrainingRun(Recipe& recipe, RunContext context) : recipe_(recipe), context_(std::move(context)), root_(context_.launch.out) {
  if (root_.empty()) throw ConfigError("--out is missing: give the run's folder");
  refuse_file_in_the_way(root_);
  if (context_.launch.config_file.empty() && context_.launch.own_config.empty())
    context_.log.warning(
        "no --config: values that are not given are defaults, which are for images of 256 pixels; configs/quickstart.toml has small networks");
  take_sizes();
  check_given_files();
  if (!recipe.class_names.empty()) class_names();            // here, so that a bad file is refused at once
  recipe.encoder_weights = usable_weights(recipe.encoder_weights);
  recipe.judge_weights = usable_weights(recipe.judge_weights);
  recipe.resolve();
  compare_with_run();
}

std::filesystem::path stored_config(const std::filesystem::path& run, const std::string& stage) {
  std::vector<std::string> names;
  for (const StageSpec& s : stage_table()) names.emplace_back(s.name);
  if (!stage.empty()) names.push_back(stage);
  for (auto name = names.rbegin(); name != names.rend(); ++name)
    if (const auto file = run / *name / "config.toml"; std::filesystem::exists(file)) return file;
  return {};
}

bool names_same_file(const std::string& change) {
  const auto quoted = [&](const std::string& before) {
    const std::size_t at = change.find(before);
    if (at == std::string::npos) return std::string();
    const std::size_t begin = at + before.size(), end = change.find('"', begin);
    return change.substr(begin, end == std::string::npos ? 0 : end - begin);
  };
  return is_same_weights(quoted(" was \""), quoted(" is \""));
}

// Warns if a --config differs from the run's config in settings that the run's weights depend on. With another number of heads, other data or another
// preprocessing the weights load without an error, but give other images. Stages compare their own section when they begin (loop.cpp).
void TrainingRun::compare_with_run() const {
  if (context_.launch.config_file.empty() || context_.launch.fresh || !context_.ranks.first()) return;
  const auto file = stored_config(root_);
  if (file.empty()) return;
  std::vector<std::string> differences;
  for (const std::string& change : config_changes(read_file(file), to_toml(list_fields(recipe_)))) {
    const std::string key = change.substr(0, change.find(' '));
    const auto is = [&](std::initializer_list<const char*> keys) { return std::find(keys.begin(), keys.end(), key) != keys.end(); };
    const bool decides = key.starts_with("rae.") || key.starts_with("vae.model.") || recipe_.network.decides(key) ||
        is({"identity.normalize", "data", "image_size", "channels", "classes", "encoder_weights", "decoder_weights", "vae_weights", "stats_file", "latents.flip", "space", "network", "conditional"});
    const bool of_computing = is({"rae.encoder.precision", "rae.decoder.precision", "vae.model.precision"});
    if (decides && !of_computing && change.find(" was ") != std::string::npos && !names_same_file(change)) differences.push_back(change);
  }
  if (differences.empty()) return;
  const std::size_t shown = std::min<std::size_t>(differences.size(), 5);
  context_.log.warning("this is not the config that the run was made with ({}): {}{}; leave --config out to read the run's own", file.string(),
                       fmt::join(differences.begin(), differences.begin() + static_cast<std::ptrdiff_t>(shown), "; "),
                       shown < differences.size() ? fmt::format(" and {} more", differences.size() - shown) : "");
}

std::filesystem::path TrainingRun::located(const std::string& file) const {
  const std::filesystem::path beside = std::filesystem::path(context_.launch.config_file).parent_path() / file;
  return !std::filesystem::exists(file) && std::filesystem::exists(beside) ? beside : std::filesystem::path(file);
}

// Refuses files that the recipe names but that do not exist, all in one error. A dry run does not need the files.
void TrainingRun::check_given_files() {
  std::string missing, keys;
  bool makes_own = true;
  std::vector<std::pair<std::string, std::string*>> given;
  for (const StageSpec& s : stage_table())
    if (s.given != nullptr) given.emplace_back(s.given_key, &(recipe_.*s.given));
  given.emplace_back("class_names", &recipe_.class_names);
  given.emplace_back("class_token_weights", &recipe_.class_token_weights);
  if (recipe_.decoder.gan.weight > 0) given.emplace_back("decoder.gan.backbone_weights", &recipe_.decoder.gan.backbone_weights);
  LpipsText lpips;
  const bool perceptual = recipe_.decoder.lpips_weight > 0 && !recipe_.decoder.lpips_weights.empty();
  if (perceptual) lpips = parse_lpips(recipe_.decoder.lpips_weights);
  for (std::string* file : {&lpips.files.trunk, &lpips.files.heads}) given.emplace_back("decoder.lpips_weights", file);
  FeaturesText features = parse_features(recipe_.evaluate.features);
  const bool published = names_published_features(recipe_.evaluate.features);
  if (published) given.emplace_back("evaluate.features", &features.file);
  for (const auto& [key, file] : given) {
    if (file->empty() || (file == &recipe_.class_names && *file == "imagenet")) continue;
    *file = located(*file).string();
    const std::filesystem::path plain = weights_and_part(*file).first;
    if (std::filesystem::exists(plain)) continue;
    missing += (missing.empty() ? "" : ", ") + plain.string();
    makes_own = makes_own && key.find('.') == std::string::npos && file != &recipe_.class_token_weights;      // these networks are never trained here
    if (!keys.ends_with(key)) keys += (keys.empty() ? "" : ", ") + key;
  }
  if (perceptual) recipe_.decoder.lpips_weights = to_text(lpips);
  warn_of_unused_weights();
  if (published) recipe_.evaluate.features = to_text(features);
  if (!missing.empty() && !context_.launch.dry_run)
    throw FileError(fmt::format(
        "the recipe names files that do not exist: {}; put them there, or set {} to their paths{}", missing, keys, makes_own ? " (empty: this run trains or computes its own)" : ""));
}

// Weights of a term of the decoder's loss that has no weight in it.
void TrainingRun::warn_of_unused_weights() const {
  const auto& d = recipe_.decoder;
  if (d.lpips_weight == 0 && !d.lpips_weights.empty()) context_.log.warning("decoder.lpips_weights has no effect, because decoder.lpips_weight is 0");
  if (d.gan.weight == 0 && !d.gan.backbone_weights.empty()) context_.log.warning("decoder.gan.backbone_weights has no effect, because decoder.gan.weight is 0");
}

// Returns the file, or "" if its weights were trained on other data.
std::string TrainingRun::usable_weights(const std::string& file) const {
  if (!file.ends_with(".safetensors") || !std::filesystem::exists(file)) return file;
  const Safetensors stored(file);
  const auto data = stored.metadata().find("data");
  if (data == stored.metadata().end()) return file;
  const std::string family = data->second.substr(0, data->second.find_first_of("?:"));
  if (family == recipe_.data_family()) return file;
  context_.log.info("{} was trained on {}; this run trains its own", file, family);
  return {};
}

std::int64_t TrainingRun::count_images() { return recipe_.train_images > 0 ? recipe_.train_images : pictures()->count(); }

std::uint64_t TrainingRun::stage_seed(const std::string& name, std::int64_t seed) {
  return name_hash(name) ^ static_cast<std::uint64_t>(seed);
}

void TrainingRun::say_loaded(const std::string& line) {
  if (said_loaded_.insert(line).second) context_.log.info("{}", line);
}

Warn TrainingRun::warner() {
  return [this](const std::string& line) { context_.log.warning("{}", line); };
}

// "data: 60000 samples u8 [1, 28, 28], 10 classes (T-shirt/top, Trouser, ...), from fashion_mnist"
static std::string described(const SampleSource& source, const std::string& spec) {
  constexpr std::size_t most = 10;
  const auto& names = source.class_names();
  const std::size_t shown = std::min(names.size(), most);
  return fmt::format("data: {} samples {} {}, {} class{} ({}{}), from {}", source.count(), name_of(source.dtype()), to_string(source.shape()), names.size(),
                     names.size() == 1 ? "" : "es", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                     shown < names.size() ? ", ..." : "", spec);
}

const std::shared_ptr<const SampleSource>& TrainingRun::pictures() {
  if (pictures_) return pictures_;
  if (space_of(recipe_).pictures && recipe_.latents.from == "memory") pictures_ = as_source(std::make_shared<const Dataset>(open_dataset(recipe_.data, Split::train)));
  else pictures_ = open_source(recipe_.data, Split::train);
  if (context_.ranks.first())
    for (const std::string& note : pictures_->notes()) context_.log.warning("{}", note);
  check_sizes(*pictures_);
  say_loaded(described(*pictures_, recipe_.data));
  return pictures_;
}

void TrainingRun::check_sizes(const SampleSource& s) const {
  const auto classes = static_cast<std::int64_t>(s.class_names().size());
  const auto fits = [](std::int64_t wanted, std::int64_t found) { return wanted == 0 || wanted == found; };
  if (space_of(recipe_).pictures) {
    const PictureSize size = picture_size(s, "training on images");
    if (size.height != size.width || !fits(recipe_.image_size, size.height) || !fits(recipe_.channels, size.channels))
      throw ConfigError(fmt::format("{} has {}x{} images of {} channel{}; the config says {}{}{}: change the config or --data", recipe_.data,
                                    size.height, size.width, size.channels, size.channels == 1 ? "" : "s", said("image_size", recipe_.image_size),
                                    recipe_.image_size > 0 && recipe_.channels > 0 ? " and " : "", said("channels", recipe_.channels)));
  }
  if (!fits(recipe_.classes, classes))
    throw ConfigError(
        fmt::format("{} has {} classes; the config says classes {}: change the config or --data", recipe_.data, classes, recipe_.classes));
}

const std::vector<std::string>& TrainingRun::class_names() {
  if (class_names_) return *class_names_;
  std::vector<std::string> names;
  if (!recipe_.class_names.empty()) {
    names = read_class_names(recipe_.class_names, recipe_.classes);
  } else if (pictures_) {
    names = pictures_->class_names();
  } else {
    try {
      const auto cached = recipe_.latents.from == "cache" ? LatentCache::read_info(latents_folder()) : std::nullopt;
      names = cached ? cached->class_names : class_names_of(recipe_.data);
    } catch (const FileError& e) {                 // labels are then shown as numbers
      context_.log.detail("no class names: {}", e.what());
    }
  }
  if (std::ssize(names) != recipe_.classes) names.clear();
  class_names_ = with_words(std::move(names));
  return *class_names_;
}

Loader TrainingRun::picture_loader(std::uint64_t seed) {
  const int workers = recipe_.latents.from == "memory" ? 0 : narrow<int>(recipe_.latents.workers);
  return Loader(pictures(), {.seed = seed, .workers = workers});
}

// Takes open sizes from the data or, if training reads a cache of latents, from the cache, because the images may not be available.
void TrainingRun::take_sizes() {
  if (recipe_.has_sizes()) return;
  if (const auto info = recipe_.latents.from == "cache" ? LatentCache::read_info(latents_folder()) : std::nullopt)
    return recipe_.take_sizes(info->image_size, info->channels, static_cast<std::int64_t>(info->class_names.size()));
  recipe_.take_sizes(*pictures(), "training on images");
}

RunSpace& TrainingRun::run_space() {
  if (!space_) space_ = space_of(recipe_).open(*this);
  return *space_;
}

LatentSpace TrainingRun::space() {
  if (!stats_.defined()) prepare_stats();
  return LatentSpace(run_space().coder(), stats_);
}

bool TrainingRun::has_decoder() const {
  const StageSpec* stage = decoder_stage(recipe_);
  return stage == nullptr || is_available(*stage);
}

LatentSpace TrainingRun::decoding_space() {
  if (!has_decoder()) throw FileError(not_trained(decoder_stage(recipe_)->name, (root_ / decoder_stage(recipe_)->name).string()));
  return space();
}

void TrainingRun::need_folder() const {
  if (!std::filesystem::is_directory(root_))
    throw FileError(fmt::format("--out {}: there is no such folder; give the folder of a run (flowmap_train creates it)", root_.string()));
}

bool TrainingRun::is_available(const StageSpec& stage) const {
  if (stage.is_given(recipe_)) return true;
  return stage.file == nullptr ? has(stage.name) : std::filesystem::exists(root_ / stage.name / stage.file);
}

std::string TrainingRun::not_trained(const std::string& stage, const std::string& where) const {
  return fmt::format("there is no trained {} in {}: run `flowmap_train {}` (or pipeline) first", stage, where, stage);
}

Weights TrainingRun::stage_weights(const std::string& stage) {
  const std::filesystem::path folder = root_ / stage;
  if (has(stage)) {
    Weights weights = load_weights(folder.string() + ":ema", warner());
    loaded_steps_[stage] = weights.step;
    if (const std::string of = weights.state == nullptr ? stage : weights.state->value("stage", stage); of != stage)
      throw ConfigError(fmt::format("{}: a checkpoint of {}, not of {}: move it back to {}", weights.file.string(), of, stage, (root_ / of).string()));
    const auto made_from = weights.state == nullptr ? nlohmann::ordered_json::object() : weights.state->value("made_from", nlohmann::ordered_json::object());
    aims_[stage] = {jumps_of_sampler(made_from.value("sampler", "")), made_from.value("aim", aim_name(true)) == aim_name(true)};
    return weights;
  }
  if (const StageSpec* known = find_stage(stage); known != nullptr && known->loop != nullptr) throw FileError(not_trained(stage, folder.string()));
  throw FileError(fmt::format("there is no stage '{}' in {}; flow maps are {}, and variants such as ablate/derivative/jvp", stage,
                              root_.string(), words(stages_that_make(Makes::flow_map), "and")));
}

Weights TrainingRun::generator_weights(const std::string& stage) {
  Weights weights = stage_weights(stage);
  if (weights.state == nullptr || !weights.state->contains("made_from")) return weights;
  const auto& before = (*weights.state)["made_from"];
  const LatentSpace here = space();
  Checksums now = here.coder().encoder ? here.coder().encoder() : Checksums();
  now.emplace_back("statistics", here.statistics().defined() ? checksum(here.statistics()) : "none");
  for (const auto& [name, sum] : now)
    if (before.contains(name) && before[name] != sum)
      throw ConfigError(fmt::format("{}: {} was trained in another latent space ({} {}, now {}): restore the settings and files of that training, or train it again",
                                    weights.file.string(), stage, name, before[name].get<std::string>(), sum));
  return weights;
}

Network TrainingRun::loaded_network(const std::string& role, bool two_times, Weights weights, const std::filesystem::path& stage) {
  const LoadedFrom from(weights);
  const Network network = of_this_run(stage, [&] { return recipe_.network.load(two_times, std::move(weights)); });
  const std::int64_t beside = network.beside();
  say_loaded(loaded_line(role, recipe_.network.size(two_times) + (beside > 0 ? fmt::format(", class token of {} numbers", beside) : ""), network.state(), from));
  return network;
}

Network TrainingRun::load_teacher() {
  const bool given = !recipe_.teacher_weights.empty();
  const char* stage = stage_that_makes(Makes::teacher).name;
  Weights weights = given ? recipe_.network.read(recipe_.teacher_weights, warner()) : generator_weights(stage);
  recipe_.network.check(weights, false, "the teacher");
  return loaded_network("teacher", false, std::move(weights), given ? "" : root_ / stage);
}

VelocityNet TrainingRun::guided(VelocityNet teacher) const {
  if (recipe_.teacher_weights.empty()) check_null_label(recipe_);            // of weights from elsewhere the recipe knows nothing
  return fm::guided(std::move(teacher), recipe_.guidance, recipe_.classes, recipe_.guided_times());
}

LatentGenerator TrainingRun::teacher_generator(const Network& teacher, std::int64_t points, TeacherSolver solver, std::shared_ptr<AdaptiveWork> work, const SdeConfig& sde) const {
  const Shape latent = recipe_.latent_shape();
  const auto [v, beside] = teacher_velocity(teacher, latent);
  LatentGenerator generate = velocity_generator(guided(v), narrow<int>(points - 1, "points"), latent_shift(), solver, std::move(work), sde);
  return beside > 0 ? first_of_joined(std::move(generate), latent, {beside}) : generate;
}

Network TrainingRun::load_student(const std::string& stage) {
  Weights weights = generator_weights(stage);
  recipe_.network.check(weights, true, "stage " + stage);
  return loaded_network(stage, true, std::move(weights), root_ / stage);
}

TrainingRun::Aim TrainingRun::aim_of(const std::string& stage) const {
  const auto found = aims_.find(stage);
  return found == aims_.end() ? Aim() : found->second;
}

LatentGenerator TrainingRun::student_generator(const std::string& stage, const Network& student, int calls) const {
  return flow_map_generator(student.u(), calls, aim_of(stage).jumps);
}

std::int64_t TrainingRun::loaded_step(const std::string& stage) const {
  const auto found = loaded_steps_.find(stage);
  return found == loaded_steps_.end() ? -1 : found->second;
}

std::int64_t TrainingRun::sampling_batch() const { return batch_for(recipe_.network.cost(true).activations(1, true).one_block); }

std::string TrainingRun::last_student() const {
  const std::vector<std::string> maps = stages_that_make(Makes::flow_map);
  for (auto stage = maps.rbegin(); stage != maps.rend(); ++stage)
    if (has(*stage)) return *stage;
  throw ConfigError(fmt::format("there is no trained flow map in {}: train one of the stages {} first", root_.string(), fmt::join(maps, ", ")));
}

}  // namespace fm
