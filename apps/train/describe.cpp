// --dry-run: what a run would be, without running it.
#include "apps/cli/text.h"
#include "apps/train/costs.h"
#include "apps/train/spaces.h"
#include "apps/train/training_run.h"

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

void describe_generator(Logger& log, const StageCost& c) {
  log.info("  parameters   {} trained, {} frozen{}", c.trained, c.frozen,
           c.teacher > 0 ? fmt::format("; {} of the teacher", c.teacher) : "");
  std::string flops = "forward " + flops_text(c.forward);
  for (const auto& [name, value] :
       {std::pair{"tangent", c.tangent}, {"backward", c.backward}, {"recompute", c.recompute}, {"teacher", c.targets}, {stage_name::encoder, c.encoder}})
    if (value > 0) flops += fmt::format(", {} {}", name, flops_text(value));
  log.info("  a step       {}; {} in all", flops, flops_text(c.flops()));
  log.info("  memory       weights {}, gradients {}, optimiser {}, average {}{}, autoencoder {}", gib(c.weights), gib(c.gradients),
           gib(c.optimiser), gib(c.average), c.teacher > 0 ? ", teacher " + gib(c.teacher_weights) : "", gib(c.autoencoder));
  log.info("  activations  of {} rows {}, with dit.recompute {}; {} in all", c.rows, gib(c.activations_kept), gib(c.activations_recomputed),
           gib(c.memory()));
}

}  // namespace

// Weights, gradients, two moments and the average, f32 each.
std::string training_size(std::int64_t parameters) {
  return fmt::format("{} parameters; {} with gradients, moments and average", parameters, gib(5 * 4 * parameters));
}

int TrainingRun::describe() {
  const std::int64_t images = recipe_.train_images > 0 ? recipe_.train_images : pictures()->count();
  Logger& log = context_.log;
  const SpaceSpec& space = space_of(recipe_);
  const Shape latent = recipe_.latent_shape();
  log.info("{}: {} {}, {} classes", recipe_.data, images, space.samples(recipe_), recipe_.classes);
  if (space.encodes) log.info("latents {}, {} for all images", fmt::join(latent.begin(), latent.end(), "x"), gib(4 * images * latent.numel()));
  for (const StageSpec& s : stage_table()) {
    if (!trains(context_.command, s, recipe_)) continue;
    log.info("{:<8} {}", s.name, steps_text(s.loop(recipe_), images, s.epochs));
    if (s.is_generator()) describe_generator(log, stage_cost(recipe_, s.name));
    else log.info("  {}", training_size(s.parameters(recipe_).trained));
  }
  return exit_code::finished;
}

}  // namespace fm
