#include "flowmap/training/gan.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "autodiff/rules/elementwise.h"
#include "flowmap/training/stage.h"
#include "nn/training/adversarial.h"
#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

constexpr std::int64_t least_tokens = 4;         // half of the heads' wide kernel

// The heads are frozen except inside of their own update, so that the decoder's loss computes no gradients for them.
class HeadsInTraining {
 public:
  explicit HeadsInTraining(DinoDiscriminator& d) : d_(d) { set_trainable(d_, true); }
  ~HeadsInTraining() { set_trainable(d_, false); }
  HeadsInTraining(const HeadsInTraining&) = delete;
  HeadsInTraining& operator=(const HeadsInTraining&) = delete;

 private:
  DinoDiscriminator& d_;
};

std::vector<Var> maps_of_zeros(const GanTraining::Setup& setup) {
  const PauseTape pause;
  return setup.backbone(Tensor::zeros({1, setup.image[0], setup.image[1], setup.image[2]}));
}

// {width, number} of the maps.
std::vector<std::int64_t> shape_of_maps(const GanTraining::Setup& setup) {
  if (setup.config.generator_from < setup.config.discriminator_from)
    throw ConfigError(fmt::format("gan.generator_from = {} is before gan.discriminator_from = {}: the discriminator would be untrained; raise it",
                                  setup.config.generator_from, setup.config.discriminator_from));
  const std::vector<Var> maps = maps_of_zeros(setup);
  if (maps[0].dim(2) < least_tokens)
    throw ConfigError(fmt::format("gan.weight = {}: the backbone gives {} tokens for an image, but the discriminator needs at least {}: use an encoder with smaller patches",
                                  setup.config.weight, maps[0].dim(2), least_tokens));
  return {maps[0].dim(1), static_cast<std::int64_t>(maps.size())};
}

AdamWConfig optimizer_config(const GanConfig& c) { return {.beta1 = c.discriminator_beta1, .beta2 = c.discriminator_beta2, .clip = 0}; }

double share_of(const StepPart& part, std::int64_t batch) { return static_cast<double>(part.count) / static_cast<double>(batch); }

}  // namespace

double discriminator_rate(const GanConfig& config, const LearningRate& decoder, std::int64_t step) {
  LearningRate rate = decoder;
  rate.peak = config.discriminator_rate;
  if (decoder.peak > 0) rate.end = decoder.end * config.discriminator_rate / decoder.peak;
  return learning_rate(rate, step - config.discriminator_from);
}

GanTraining::GanTraining(Setup setup, Communicator& ranks)
    : setup_(std::move(setup)),
      ranks_(ranks),
      shape_(shape_of_maps(setup_)),
      discriminator_(shape_[0], shape_[1], setup_.seed),
      optimizer_(named_parameters(discriminator_), optimizer_config(setup_.config)) {
  set_trainable(discriminator_, false);
}

void GanTraining::add_to(Stage& stage, std::function<Tensor(const Rows&)> reconstruct) {
  reconstruct_ = std::move(reconstruct);
  for (const auto& [name, tensor] : state_dict(discriminator_)) stage.state.emplace_back("discriminator." + name, tensor);
  stage.optimizers.emplace_back("discriminator_optimizer", &optimizer_);
  stage.after_step = [this](std::int64_t step) { update(step - 1); };
  stage.metrics_after_step = [this] { return metrics_; };
  stage.not_recorded = "its discriminator is trained between the steps";
}

Augmentations GanTraining::changes(Augmented kind, const StepPart& part) const {
  const Draws draws{setup_.seed, narrow<std::uint32_t>(part.step, "step"), samples_of(part, setup_.batch)};
  return draw_augmentations(draws, kind, setup_.config.augment, setup_.image[1], setup_.image[2]);
}

Var GanTraining::term(const Var& reconstructions, const StepPart& part) const {
  const Var images = augmented(reconstructions * 2.0 - 1.0, changes(Augmented::generated, part));
  return loss_of_generator(setup_.config.loss, discriminator_(setup_.backbone(images)));
}

// Rows that a failed step left behind are dropped.
void GanTraining::keep(Rows rows) {
  if (rows.part.step < setup_.config.discriminator_from) return;
  if (!kept_.empty() && (kept_.back().part.step != rows.part.step || kept_.back().part.first >= rows.part.first)) kept_.clear();
  kept_.push_back(std::move(rows));
}

std::vector<Var> GanTraining::maps(const Tensor& images, Augmented kind, const StepPart& part) const {
  const PauseTape pause;                           // no gradient: backbone and decoder are not trained here
  return setup_.backbone(augmented(images, changes(kind, part)));
}

// Adds the gradients of one half of L_D. One power iteration belongs to each half, whatever the number of parts, so that the spectral vectors do not depend
// on micro-batches and ranks.
void GanTraining::add_gradients(Augmented kind, Gradients& total) {
  const bool real = kind == Augmented::real;
  discriminator_.iterate();
  for (std::size_t i = 0; i < kept_.size(); ++i) {
    const Rows& rows = kept_[i];
    const Tensor images = real ? rows.images * 2.0 - 1.0 : rounded_to_bytes(reconstruct_(rows) * 2.0 - 1.0);
    const std::vector<Var> seen = maps(images, kind, rows.part);
    Tape tape;
    const Var scores = discriminator_(seen);
    const Var loss = real ? loss_of_real(setup_.config.loss, scores) : loss_of_fake(setup_.config.loss, scores);
    const double share = share_of(rows.part, setup_.batch);
    Late value = loss.value() * 2.0;
    if (ranks_.size() > 1) value = double(value);  // read before the collectives, which would not end if a rank is lost
    metrics_.push_back({"d_loss", value, share});              // of real and generated images together: the mean of twice each half
    metrics_.push_back({real ? "d_real" : "d_fake", mean(scores.value()), share});
    accumulate(total, backward(loss * share));
  }
}

void GanTraining::update(std::int64_t step) {
  metrics_.clear();
  if (step < setup_.config.discriminator_from) return;
  const HeadsInTraining training(discriminator_);
  Gradients total;
  add_gradients(Augmented::real, total);
  add_gradients(Augmented::fake, total);
  kept_.clear();
  if (ranks_.size() > 1) {
    if (!buckets_) buckets_ = std::make_unique<GradientBuckets>(ranks_, named_parameters(discriminator_));
    buckets_->begin(&total);
    buckets_->finish(total);
  }
  check_last_norm();
  const StepStats stats = optimizer_.step(total, {.lr = discriminator_rate(setup_.config, setup_.decoder_rate, step)});
  if (!stats.gradient_norm.known()) norm_ = Arriving({stats.gradient_norm});
}

// On the CPU the optimizer throws at once. On a GPU an update whose norm is not finite changes nothing, and is reported one update later.
void GanTraining::check_last_norm() {
  if (!norm_) return;
  const double norm = norm_->values()[0];
  norm_.reset();
  if (!std::isfinite(norm)) throw DivergedError(fmt::format("the norm of the discriminator's gradients is {} at its update {}", norm, optimizer_.updates()));
}

}  // namespace fm
