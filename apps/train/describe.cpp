// --dry-run: what a run would be, without running it.
#include "apps/train/training_run.h"

namespace fm {
namespace {

double mib(std::int64_t values) { return static_cast<double>(values) * 4 / (1 << 20); }

void line(Logger& log, const std::string& name, std::int64_t parameters, const LoopConfig& loop, std::int64_t images) {
  log.info("{:<8} {}   {:>6} steps of {:>4}   {:>5.1f} epochs", name, training_size(parameters), loop.steps, loop.batch,
           static_cast<double>(loop.steps * loop.batch) / static_cast<double>(images));
}

}  // namespace

// Weights, gradients, two moments and the average, f32 each.
std::string training_size(std::int64_t parameters) {
  return fmt::format("{:>10} parameters   {:>7.1f} MiB with gradients, moments and average", parameters, 5 * mib(parameters));
}

int TrainingRun::describe() {
  const ShapesOnly shapes;
  const std::int64_t images = recipe_.train_images > 0 ? recipe_.train_images : train_data().count;
  DitDhConfig student = recipe_.dit;
  student.mean_flow = true;
  Logger& log = context_.log;
  log.info("{}: {} images of {}x{}x{}, {} classes", recipe_.data, images, recipe_.channels, recipe_.image_size, recipe_.image_size,
           recipe_.classes);
  log.info("latent: {} channels, {}x{}", recipe_.dit.channels, recipe_.dit.input_size, recipe_.dit.input_size);
  const VitEncoder encoder(recipe_.rae.encoder);
  if (recipe_.judge_weights.empty()) line(log, "judge", parameter_count(Judge(recipe_.judge.model), true), recipe_.judge.loop, images);
  if (recipe_.encoder_weights.empty()) line(log, "encoder", parameter_count(encoder, true), recipe_.encoder.loop, images);
  else log.info("encoder  {:>10} parameters, from {}", parameter_count(encoder), recipe_.encoder_weights);
  line(log, "decoder", parameter_count(RaeDecoder(recipe_.rae.decoder), true), recipe_.decoder.loop, images);
  line(log, "fm", parameter_count(DitDh(recipe_.dit), true), recipe_.fm.loop, images);
  const std::int64_t parameters = parameter_count(DitDh(student), true);
  line(log, "cmt", parameters, recipe_.cmt.loop, images);
  line(log, "mfd", parameters, recipe_.mfd.loop, images);
  line(log, "mft", parameters, recipe_.mft.loop, images);
  log.info("latents in memory: {:.0f} MiB", mib(images * recipe_.dit.channels * recipe_.dit.input_size * recipe_.dit.input_size));
  return exit_code::finished;
}

}  // namespace fm
