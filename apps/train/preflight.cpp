// Checks that take seconds, before the first step and in a dry run: what a stage would miss after hours of the ones before it.
#include <algorithm>

#include "apps/support/limits.h"
#include "apps/support/ranks.h"
#include "apps/train/costs.h"
#include "nn/training/parallel.h"
#include "apps/train/training_run.h"
#include "data/source.h"
#include "nn/models/published_weights.h"

namespace fm {
namespace {

constexpr double f32 = 4;

double real(std::int64_t n) { return static_cast<double>(n); }

struct Planned {
  std::string name;
  const LoopConfig* loop;
};

// Has its steps: it will say so and be passed by. Its data may be gone.
bool is_finished(const std::filesystem::path& stage, const LoopConfig& loop) {
  const auto steps = CheckpointFolder(stage / "checkpoints", loop.keep, loop.keep_every).newest_first();
  return !steps.empty() && steps.front() >= loop.steps;
}

// The stages that the command trains, in their order.
std::vector<Planned> planned_stages(const Recipe& r, const Context& context, const std::filesystem::path& root) {
  const std::vector<std::tuple<std::string, const LoopConfig*, std::string>> all{
      {"judge", &r.judge.loop, r.judge_weights}, {"encoder", &r.encoder.loop, r.encoder_weights},
      {"decoder", &r.decoder.loop, r.decoder_weights}, {"fm", &r.fm.loop, r.teacher_weights},
      {"cmt", &r.cmt.loop, ""}, {"mfd", &r.mfd.loop, ""}, {"mft", &r.mft.loop, ""}};
  const std::string wanted = context.program == "ablate" ? "mfd" : context.command;
  std::vector<Planned> list;
  for (const auto& [name, loop, given] : all)
    if ((wanted == name || (wanted == "pipeline" && loop->steps > 0 && given.empty())) &&
        (context.launch.fresh || context.program == "ablate" || !is_finished(root / name, *loop)))
      list.push_back({name, loop});
  return list;
}

bool is_flow(const std::string& stage) { return stage == "fm" || stage == "cmt" || stage == "mfd" || stage == "mft"; }

// Weights, gradients, two moments and the average, and a lower bound of what a pass over the largest part of a batch keeps.
double memory_of_other(const Recipe& r, const Planned& stage, std::int64_t parameters) {
  const double rows = real(stage.loop->micro_batch > 0 ? std::min(stage.loop->micro_batch, stage.loop->batch) : stage.loop->batch);
  const double pixels = real(r.channels * r.image_size * r.image_size);
  double kept = pixels;
  if (stage.name == "judge") {
    kept += real(r.judge.model.width * r.image_size * r.image_size);
  } else {
    const double tokens = real(r.dit.input_size * r.dit.input_size);
    const bool encoder = stage.name == "encoder";
    kept += 8 * tokens * real(encoder ? r.rae.encoder.width * r.rae.encoder.depth : r.rae.decoder.width * r.rae.decoder.depth);
  }
  return 5 * f32 * real(parameters) + f32 * rows * kept;
}

std::int64_t parameters_of(const Recipe& r, const std::string& stage) {
  const ShapesOnly shapes;
  if (stage == "judge") return parameter_count(Judge(r.judge.model));
  if (stage == "encoder") return parameter_count(VitEncoder(r.rae.encoder));
  if (stage == "decoder") return parameter_count(RaeDecoder(r.rae.decoder));
  DitDhConfig config = r.dit;
  config.mean_flow = stage != "fm";
  return parameter_count(DitDh(config));
}

// A training that keeps pictures and latents in memory, with `images` of them.
double memory_of_data(const Recipe& r, std::int64_t images) {
  if (r.latents.from != "memory") return 0;
  const double latents = f32 * real(r.dit.channels * r.dit.input_size * r.dit.input_size) * (r.latents.flip ? 2 : 1);
  return real(images) * (real(r.channels * r.image_size * r.image_size) + latents);
}

std::string memory_problem(const Recipe& r, const Planned& stage, std::int64_t images, int ranks, bool sharded) {
  const double data = memory_of_data(r, images), parameters = real(parameters_of(r, stage.name));
  double needed = data;
  if (is_flow(stage.name)) needed += real(stage_cost(r, stage.name, ranks, sharded).memory());
  else needed += memory_of_other(r, stage, static_cast<std::int64_t>(parameters));
  const std::int64_t rows = stage.loop->micro_batch > 0 ? std::min(stage.loop->micro_batch, stage.loop->batch) : stage.loop->batch;
  return beyond_memory(needed, stage.name,
                       fmt::format("{:.0f} parameters with their state, a pass over {} rows, {} images", parameters, rows, images),
                       fmt::format("lower {0}.loop.micro_batch{1}{2}", stage.name,
                                   stage.loop->micro_batch == 0 ? fmt::format(" (now the batch of {})", stage.loop->batch) : "",
                                   data > needed / 2 ? ", or read pictures as they are needed (latents.from = \"images\")" : ""));
}

double bytes_below(const std::filesystem::path& folder) {
  double bytes = 0;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (std::error_code unread; it->is_regular_file(unread) && !it->is_symlink(unread)) bytes += real(static_cast<std::int64_t>(it->file_size(unread)));
  return bytes;
}

// Of the checkpoints that a stage keeps, and the one that is written before the oldest goes: model, average and two moments in f32, less
// those that are there.
double checkpoint_bytes(const Recipe& r, const Planned& stage, const std::filesystem::path& root) {
  const LoopConfig& l = *stage.loop;
  const std::int64_t written = (l.steps + l.ckpt_every - 1) / l.ckpt_every;
  const std::int64_t kept = std::min(written, l.keep + 1 + (l.keep_every > 0 ? l.steps / l.keep_every : 0));
  const double all = real(kept) * 4 * f32 * real(parameters_of(r, stage.name));
  return std::max(0.0, all - bytes_below(root / stage.name / "checkpoints"));
}

std::string disk_problem(const Recipe& r, const std::vector<Planned>& stages, const std::filesystem::path& root) {
  double bytes = 0;
  std::vector<std::string> names;
  for (const Planned& s : stages) bytes += checkpoint_bytes(r, s, root), names.push_back(s.name);
  return beyond_disk(bytes, root, fmt::format("the checkpoints of {} need about", fmt::join(names, ", ")),
                     fmt::format("free space, lower {}.loop.keep, or choose another --out", names.empty() ? "fm" : names.back()));
}

}  // namespace

// A stage whose source is neither trained before it nor there already fails when its turn comes.
void TrainingRun::check_sources() const {
  const Recipe& r = recipe_;
  const auto will_be = [&](const std::string& stage, std::int64_t steps, bool there) {
    if (steps > 0 || there) return;
    throw ConfigError(fmt::format("pipeline: a later stage needs {0}, but {0}.loop.steps is 0 and {1} has none: give it steps, or the weights "
                                  "(--{2}-weights)", stage, root_.string(), stage == "fm" ? "teacher" : stage));
  };
  const bool flow = r.cmt.loop.steps > 0 || r.mfd.loop.steps > 0 || r.mft.loop.steps > 0;
  const bool encoder = !r.encoder_weights.empty() || std::filesystem::exists(root_ / "encoder" / "encoder.safetensors");
  const bool taught = r.cmt.loop.steps > 0 || (r.mfd.loop.steps > 0 && teacher_share(r.mfd.velocity) > 0) ||
      (r.mft.loop.steps > 0 && teacher_share(r.mft.velocity) > 0);
  if (flow || r.fm.loop.steps > 0 || r.decoder.loop.steps > 0) will_be("encoder", r.encoder.loop.steps, encoder);
  if (taught) will_be("fm", r.fm.loop.steps, has_teacher());
  if (r.mfd.loop.steps > 0 || r.mft.loop.steps > 0) {
    if (r.cmt.loop.steps == 0 && !has("cmt") && !(r.mfd.loop.steps == 0 && has("mfd")))
      throw ConfigError(fmt::format("pipeline: {} begins from the stage cmt, but cmt.loop.steps is 0 and {} has none: give it steps",
                                    r.mfd.loop.steps > 0 ? "mfd" : "mft", root_.string()));
  }
  if (r.has_judge()) will_be("decoder", r.decoder.loop.steps, has_decoder());
}

// Files that only a later stage reads: read and compared with the recipe now, and let go.
void TrainingRun::check_given_weights() {
  const auto exists = [](const std::string& file) { return !file.empty() && std::filesystem::exists(weights_and_part(file).first); };
  if (exists(recipe_.encoder_weights)) {
    VitEncoder encoder(recipe_.rae.encoder);
    load_model(encoder, load_part(recipe_.encoder_weights, "encoder", warner(), recipe_.rae.encoder.affine_norm));
  }
  if (exists(recipe_.decoder_weights)) {
    RaeDecoder decoder(recipe_.rae.decoder);
    load_model(decoder, load_part(recipe_.decoder_weights, "decoder", warner()));
  }
  if (exists(recipe_.judge_weights)) {
    Judge judge(recipe_.judge.model);
    load_model(judge, load_weights(recipe_.judge_weights, warner()));
  }
  if (exists(recipe_.teacher_weights)) load_teacher();
  if (exists(recipe_.stats_file)) given_stats();
}

// The judge is measured on it at its end, and samples are compared with it.
void TrainingRun::check_test_split(bool evaluated) const {
  const std::shared_ptr<const SampleSource> test = open_source(recipe_.data, Split::test);
  if (context_.ranks.first())
    for (const std::string& note : test->notes()) context_.log.warning("{}", note);
  const std::int64_t k = recipe_.evaluate.k, least = evaluated ? std::max<std::int64_t>(2, k + 1) : 1;
  if (test->count() < least)
    throw FileError(fmt::format("{}: the test split has {} picture{}; an evaluation needs {} at least (one more than evaluate.k = {}): add "
                                "pictures to it", recipe_.data, test->count(), test->count() == 1 ? "" : "s", least, k));
  if (evaluated && recipe_.evaluate.samples <= k)
    throw ConfigError(fmt::format("evaluate.samples = {} are too few for evaluate.k = {} neighbours: raise one or lower the other",
                                  recipe_.evaluate.samples, k));
}

// Bytes that the latent cache still needs: its size less the finished shards.
double TrainingRun::cache_bytes() {
  const double one = real(recipe_.dit.channels * recipe_.dit.input_size * recipe_.dit.input_size) * (recipe_.latents.dtype == "f32" ? 4 : 2);
  return std::max(0.0, real(pictures()->count()) * one * (recipe_.latents.flip ? 2 : 1) - bytes_below(latents_folder()));
}

void TrainingRun::preflight() {
  const bool dry = context_.launch.dry_run, pipeline = context_.command == "pipeline", ablation = context_.program == "ablate";
  const bool at_hand = !(dry && recipe_.train_images > 0);            // else this may be a plan for another machine
  const std::vector<Planned> stages = planned_stages(recipe_, context_, root_);
  if (pipeline) check_sources();
  if (stages.empty() && context_.command != "encode") return;
  if (pipeline && at_hand) check_given_weights();
  const bool evaluated = ablation || (pipeline && recipe_.has_judge());
  if (at_hand && (evaluated || context_.command == "judge")) check_test_split(evaluated);

  const int ranks = context_.ranks->size();
  std::vector<std::string> problems;
  const std::int64_t images = at_hand && recipe_.latents.from != "cache" ? pictures()->count() : recipe_.train_images;
  for (const auto& [name, config] : {std::pair{"mfd", &recipe_.mfd}, {"mft", &recipe_.mft}})
    if (std::any_of(stages.begin(), stages.end(), [&, n = name](const Planned& s) { return s.name == n; })) check_exact_share(name, *config);
  for (const Planned& s : stages) {
    rows_of_rank(s.loop->batch, s.loop->micro_batch, 0, ranks);       // ConfigError for fewer rows than ranks
    if (images > 0 && s.name != "cmt" && real(s.loop->steps) * real(s.loop->batch) / real(images) >= 0x1p32)
      throw ConfigError(fmt::format("{0}.loop.steps = {1} of {2} show each of {3} images more than 2^32 times, which is as far as epochs are "
                                    "numbered: lower {0}.loop.steps", s.name, s.loop->steps, s.loop->batch, images));
    if (!context_.launch.device.is_cuda())
      if (const std::string p = memory_problem(recipe_, s, images, ranks, context_.launch.shard_optimizer); !p.empty()) problems.push_back(p);
  }
  std::string disk = disk_problem(recipe_, stages, root_);
  if (context_.command == "encode" || (pipeline && lacks_cached_latents()))
    if (const std::string p = beyond_disk(cache_bytes(), latents_folder(), "latents of the pictures need", "free space, or choose another --latents-folder");
        !p.empty())
      disk = p;
  if (dry) {
    if (!disk.empty()) problems.push_back(disk);
    for (const std::string& p : problems) context_.log.warning("{}", p);
    return;
  }
  if (!problems.empty()) throw ConfigError(problems.front());
  if (!disk.empty() && context_.ranks.first()) throw FileError(disk);
}

}  // namespace fm
