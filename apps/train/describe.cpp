#include "apps/train/describe.h"

#include "data/report/numbers.h"
#include "flowmap/training/chain/costs.h"
#include "flowmap/training/chain/resources.h"
#include "flowmap/training/chain/spaces.h"

namespace fm {
namespace {

std::string gib(std::int64_t bytes) { return bytes_text(static_cast<double>(bytes)); }

// "180000 steps of 256 in parts of 8: 46080000 images, 36.0 epochs". CMT sees no images, only labels.
std::string steps_text(const LoopConfig& loop, std::int64_t images, bool epochs) {
  const std::int64_t seen = loop.steps * loop.batch;
  const std::string parts = loop.micro_batch > 0 && loop.micro_batch < loop.batch ? fmt::format(" in parts of {}", loop.micro_batch) : "";
  const std::string what =
      epochs ? fmt::format("images, {:.1f} epochs", static_cast<double>(seen) / static_cast<double>(images)) : "trajectories";
  return fmt::format("{} steps of {}{}: {} {}", loop.steps, loop.batch, parts, seen, what);
}

// `section`: that of the network in the config.
void describe_generator(Messages& log, const StageCost& c, const std::string& section) {
  log.info("  parameters   {} trained, {} frozen{}", c.trained, c.frozen,
           c.teacher > 0 ? fmt::format("; {} of the teacher", c.teacher) : "");
  std::string flops = "forward " + flops_text(c.forward);
  for (const auto& [name, value] :
       {std::pair{"tangent", c.tangent}, {"backward", c.backward}, {"recompute", c.recompute}, {"teacher", c.targets}, {stage_name::encoder, c.encoder}})
    if (value > 0) flops += fmt::format(", {} {}", name, flops_text(value));
  log.info("  a step       {}; {} in all", flops, flops_text(c.flops()));
  log.info("  memory       weights {}, gradients {}, optimizer {}, average {}{}, autoencoder {}", gib(c.weights), gib(c.gradients),
           gib(c.optimizer), gib(c.average), c.teacher > 0 ? ", teacher " + gib(c.teacher_weights) : "", gib(c.autoencoder));
  log.info("  activations  of {} rows {}, with {}.recompute {}; {} in all", c.rows, gib(c.activations_kept), section, gib(c.activations_recomputed),
           gib(c.memory()));
}

// A stage that is no generator. Only a lower bound of its activations is known.
void describe_other(Messages& log, const Recipe& r, const StageSpec& stage) {
  log.info("  {}", training_size(stage.parameters(r).trained));
  if (stage.beside != nullptr) {
    const Beside beside = stage.beside(r);
    log.info("  others       {} parameters of frozen networks{}", beside.frozen, beside.trained > 0 ? fmt::format(", {} of the discriminator", beside.trained) : "");
  }
  log.info("  memory       at least {} for {} rows at a time", bytes_text(memory_of_training(r, stage, 1, false)), rows_at_a_time(stage.loop(r)));
}

}  // namespace

// Counts weights, gradients, two moments and the average, each in f32.
std::string training_size(std::int64_t parameters) {
  return fmt::format("{} parameters; {} with gradients, moments and average", parameters, gib(5 * 4 * parameters));
}

void describe(TrainingRun& run) {
  const Recipe& r = run.recipe();
  const std::int64_t images = run.count_images();
  Messages& log = run.context().log;
  const SpaceSpec& space = space_of(r);
  const Shape latent = r.latent_shape(), stored = r.stored_latent_shape();
  if (r.train_images > 0) log.info("{} {}, {} classes, as the recipe says (train_images): the data set is not read", images, space.samples(r), r.classes);
  else log.info("{}: {} {}, {} classes", r.data, images, space.samples(r), r.classes);
  if (space.encodes && r.latents.from != "images") log.info("latents {}{}, {} for all images", fmt::join(latent.begin(), latent.end(), "x"), stored == latent ? "" : " with their deviations", gib(4 * images * stored.numel()));
  for (const StageSpec& s : stage_table()) {
    if (!trains(run.context().command, s, r)) continue;
    log.info("{:<8} {}", s.name, steps_text(s.loop(r), images, s.epochs));
    if (s.is_generator()) {
      if (const std::string remark = s.objective_in(r).remark; !remark.empty()) log.info("  {}", remark);
      describe_generator(log, stage_cost(r, s.name), r.network.section());
    }
    else describe_other(log, r, s);
  }
}

}  // namespace fm
