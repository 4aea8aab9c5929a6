// Checks that take seconds, made before the first step and in a dry run. Without these checks, faults would show only after hours of earlier stages.
#include <algorithm>

#include "data/source.h"
#include "flowmap/training/chain/costs.h"
#include "flowmap/training/chain/feature_rows.h"
#include "flowmap/training/chain/resources.h"
#include "flowmap/training/chain/spaces.h"
#include "flowmap/training/chain/stages.h"
#include "flowmap/training/chain/training_run.h"
#include "flowmap/training/limits.h"
#include "flowmap/training/stage.h"
#include "nn/models/published_weights.h"
#include "nn/training/parallel.h"
#include "nn/training/ranks.h"

namespace fm {
namespace {

double real(std::int64_t n) { return static_cast<double>(n); }

// Whether the stage has made its steps. Finished stages are skipped, so their data may be missing.
bool is_finished(const StageSpec& stage, const Recipe& r, const std::filesystem::path& root) {
  const std::int64_t newest = newest_step(root / stage.name / "checkpoints");
  return newest >= 0 && newest >= stage.steps(r);
}

// The stages that the command will train, in their order.
std::vector<const StageSpec*> planned_stages(const Recipe& r, const RunContext& context, const std::filesystem::path& root) {
  std::vector<const StageSpec*> list;
  for (const StageSpec& s : stage_table())
    if (trains(context.command, s, r) && (context.launch.fresh || context.variants || !is_finished(s, r, root)))
      list.push_back(&s);
  return list;
}

std::string memory_problem(const Recipe& r, const StageSpec& stage, std::int64_t images, int ranks, bool sharded) {
  const double data = memory_of_data(r, images), needed = data + memory_of_training(r, stage, ranks, sharded);
  const LoopConfig& loop = stage.loop(r);
  return beyond_memory(needed, stage.name,
                       fmt::format("{} parameters with their state, a pass over {} rows, {} images", stage.parameters(r).all,
                                   rows_at_a_time(loop), images),
                       fmt::format("lower {0}.loop.micro_batch{1}{2}", stage.name,
                                   loop.micro_batch == 0 ? fmt::format(" (now the batch of {})", loop.batch) : "",
                                   data > needed / 2 ? ", or read images as they are needed (latents.from = \"images\")" : ""));
}

double bytes_below(const std::filesystem::path& folder) {
  double bytes = 0;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (std::error_code unread; it->is_regular_file(unread) && !it->is_symlink(unread)) bytes += real(static_cast<std::int64_t>(it->file_size(unread)));
  return bytes;
}

std::string disk_problem(const Recipe& r, const std::vector<const StageSpec*>& stages, const std::filesystem::path& root) {
  double bytes = 0;
  std::vector<std::string> names;
  for (const StageSpec* s : stages) bytes += std::max(0.0, checkpoint_bytes(r, *s) - bytes_below(root / s->name / "checkpoints")), names.emplace_back(s->name);
  return beyond_disk(bytes, root, fmt::format("the checkpoints of {} need about", fmt::join(names, ", ")),
                     fmt::format("free space, lower {}.loop.keep, or choose another --out",
                                 names.empty() ? generator_stages().front() : names.back()));
}

// Returns the first stage of the pipeline that needs `source`, or null.
const StageSpec* first_that_needs(const StageSpec& source, const Recipe& r) {
  for (const StageSpec& s : stage_table()) {
    const std::vector<const StageSpec*> sources = s.steps(r) > 0 ? needs(s, r) : std::vector<const StageSpec*>();
    if (std::find(sources.begin(), sources.end(), &source) != sources.end()) return &s;
  }
  return nullptr;
}

}  // namespace

// Refuses a pipeline with a stage whose source is neither trained before it nor available.
void TrainingRun::check_sources() const {
  for (const StageSpec& s : stage_table()) {
    if (s.loop == nullptr || s.steps(recipe_) > 0 || is_available(s)) continue;
    const StageSpec* later = first_that_needs(s, recipe_);
    const bool evaluated = &s == decoder_stage(recipe_) && has_features(recipe_);
    if (later == nullptr && !evaluated) continue;
    if (s.given == nullptr)
      throw ConfigError(fmt::format("pipeline: {0} begins from the stage {1}, but {1}.loop.steps is 0 and {2} has no trained {1}: set {1}.loop.steps",
                                    later->name, s.name, root_.string()));
    std::string flag = s.given_key;
    std::replace(flag.begin(), flag.end(), '_', '-');
    throw ConfigError(fmt::format("pipeline: a later stage needs {0}, but {0}.loop.steps is 0 and {1} has no trained {0}: set {0}.loop.steps, or give the weights "
                                  "(--{2})", s.name, root_.string(), flag));
  }
}

// Reads the files that only a later stage needs, compares them with the recipe, and releases them.
void TrainingRun::check_given_weights(const std::vector<const StageSpec*>& stages) {
  const auto exists = [](const std::string& file) { return !file.empty() && std::filesystem::exists(weights_and_part(file).first); };
  run_space().check_given();
  if (exists(recipe_.judge_weights)) check_given_judge(*this);
  if (exists(file_of_features(recipe_))) open_features(*this);
  if (exists(recipe_.teacher_weights)) {
    const Network teacher = load_teacher();
    if (recipe_.class_token_weights.empty() || exists(recipe_.class_token_weights)) check_teacher(teacher, stages);        // else: a dry run, without the file
  }
  if (exists(recipe_.stats_file)) given_stats();
}

// A REG cannot teach every objective, and needs class tokens in each stage on data that it teaches.
void TrainingRun::check_teacher(const Network& teacher, const std::vector<const StageSpec*>& stages) {
  const std::int64_t numbers = teacher.beside();
  bool on_data = false;
  for (const StageSpec* s : stages)
    if (numbers > 0 && s->is_taught(recipe_)) {
      const Needs needs = s->objective_in(recipe_).needs;
      check_teacher_of_rows(s->name, needs, numbers);
      on_data = on_data || needs.data;
    }
  if (on_data) check_class_tokens(numbers);
}

// The test split is needed at the end of the judge's training, to measure its accuracy, and in evaluations, as the reference.
void TrainingRun::check_test_split(bool evaluated) const {
  const std::shared_ptr<const SampleSource> test = open_source(recipe_.data, Split::test);
  if (context_.ranks.first())
    for (const std::string& note : test->notes()) context_.log.warning("{}", note);
  const std::int64_t k = recipe_.evaluate.k, least = evaluated ? std::max<std::int64_t>(2, k + 1) : 1;
  const char* thing = space_of(recipe_).pictures ? "image" : "sample";
  if (test->count() < least)
    throw FileError(fmt::format("{0}: the test split has {1} {2}{3}; an evaluation needs {4} at least (one more than evaluate.k = {5}): add {2}s to it",
                                recipe_.data, test->count(), thing, test->count() == 1 ? "" : "s", least, k));
  if (evaluated && recipe_.evaluate.samples <= k)
    throw ConfigError(fmt::format("evaluate.samples = {} is too small for evaluate.k = {} neighbors: raise the samples or lower k",
                                  recipe_.evaluate.samples, k));
}

// Bytes that the latent cache still needs: its size less the finished shards.
double TrainingRun::cache_bytes() {
  const double one = real(recipe_.stored_latent_shape().numel()) * (recipe_.latents.dtype == "f32" ? 4 : 2);
  return std::max(0.0, real(recipe_.latents.given.empty() ? pictures()->count() : given_latents().count()) * one * (recipe_.latents.flip ? 2 : 1) - bytes_below(latents_folder()));
}

void TrainingRun::preflight() {
  const bool dry = context_.launch.dry_run, pipeline = context_.command == "pipeline", ablation = context_.variants;
  const bool at_hand = !(dry && recipe_.train_images > 0);            // false: this may be a plan for another machine
  const bool encodes = context_.command == stage_name::encode;
  const std::vector<const StageSpec*> stages = planned_stages(recipe_, context_, root_);
  if (pipeline) check_sources();
  if (stages.empty() && !encodes) return;
  if (pipeline && at_hand) check_given_weights(stages);
  const bool evaluated = ablation || (pipeline && !recipe_.in_plane() && has_features(recipe_));
  if (at_hand && (evaluated || context_.command == stage_name::judge)) check_test_split(evaluated);

  const int ranks = context_.ranks->size();
  std::vector<std::string> problems;
  const std::int64_t images = at_hand && recipe_.latents.from != "cache" && recipe_.latents.given.empty() ? pictures()->count() : recipe_.train_images;
  for (const StageSpec* s : stages)
    check_settings(*s, recipe_, ranks);
  for (const StageSpec* s : stages) {
    const LoopConfig& loop = s->loop(recipe_);
    rows_of_rank(loop.batch, loop.micro_batch, 0, ranks);             // ConfigError for fewer rows than ranks
    if (images > 0 && s->epochs && real(loop.steps) * real(loop.batch) / real(images) >= 0x1p32)
      throw ConfigError(fmt::format("{0}.loop.steps = {1} with a batch of {2} would use each of {3} images more than 2^32 times, but epochs have "
                                    "32-bit numbers: lower {0}.loop.steps", s->name, loop.steps, loop.batch, images));
    if (!default_device().is_cuda())
      if (const std::string p = memory_problem(recipe_, *s, images, ranks, context_.launch.shard_optimizer); !p.empty()) problems.push_back(p);
  }
  std::string disk = disk_problem(recipe_, stages, root_);
  if (encodes || (pipeline && lacks_cached_latents()))
    if (const std::string p = beyond_disk(cache_bytes(), latents_folder(), "latents of the images need", "free space, or choose another --latents-folder");
        !p.empty())
      disk = p;
  const auto takes_tokens = [&](const StageSpec* s) { return s->is_taught(recipe_) && s->objective_in(recipe_).needs.data; };
  if (at_hand && (encodes || std::any_of(stages.begin(), stages.end(), takes_tokens)))
    if (const std::string p = beyond_disk(class_token_bytes(), class_tokens_folder(), "class tokens of the images need", "free space, or choose another --latents-folder");
        !p.empty())
      disk = p;
  if (dry && !disk.empty()) problems.push_back(disk);
  if (dry) {
    for (const std::string& p : problems) context_.log.warning("{}", p);
    return;
  }
  if (!problems.empty()) throw ConfigError(problems.front());
  if (!disk.empty() && context_.ranks.first()) throw FileError(disk);
}

}  // namespace fm
