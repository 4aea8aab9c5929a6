// Trains the RAE decoder, which decodes noisy latents of the frozen encoder (mfrae 1.1, 3).
//
//   R = mean |x' - x| + feature_weight mean |E(x') - E(x)|^2 + lpips_weight LPIPS(x', x)      x' = D(E(x) + sigma n),  sigma = noise_tau U[0, 1) per sample
//   loss = R, or with a discriminator (flowmap/training/gan.h) R + gan.weight w L_G, where w balances the gradients of the decoder's last layer
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "data/grid.h"
#include "data/png.h"
#include "flowmap/metrics/frechet.h"
#include "flowmap/training/chain/space_rae.h"
#include "flowmap/training/chain/training_run.h"
#include "nn/loaded.h"
#include "nn/models/dino_vit.h"
#include "nn/models/lpips_weights.h"
#include "nn/training/adversarial.h"

namespace fm {
namespace {

constexpr std::uint32_t scale_stream = 0x5343414C, noise_stream = 0x4E4F4953;

Tensor with_noise(const Tensor& tokens, const Samples& samples, std::uint64_t seed, double tau) {
  const Tensor scale = random_uniform_rows(samples, {1, 1}, {seed, scale_stream}) * tau;
  return tokens + scale * random_normal_rows(samples, {tokens.dim(1), tokens.dim(2)}, {seed, noise_stream});
}

struct DecoderBatch {
  Tensor pictures;
  Tensor latents;                                   // raw; undefined if latents are not kept in memory
  template <class F> void each_tensor(F&& f) { f(pictures), f(latents); }
};

Tensor indices(const std::vector<EpochRow>& rows) {
  const Tensor out = Tensor::empty({static_cast<std::int64_t>(rows.size())}, DType::i64, Device{});
  for (std::size_t i = 0; i < rows.size(); ++i) out.data<std::int64_t>()[i] = rows[i].index;
  return out;
}

// The distance of a reconstruction from its image, with its parts as metrics.
class ReconstructionLoss {
 public:
  ReconstructionLoss(const DecoderStage& config, const Rae& autoencoder, const Warn& warn) : config_(config), autoencoder_(autoencoder) {
    if (config.lpips_weight == 0) return;
    if (const std::int64_t channels = autoencoder.config.decoder.image_channels; channels != 3)
      throw ConfigError(fmt::format("decoder.lpips_weight = {}: LPIPS compares color images, and these have {} channel(s): set it to 0 and use decoder.feature_weight", config.lpips_weight,
                                    channels));
    if (config.lpips_weights.empty())
      throw ConfigError(fmt::format("decoder.lpips_weight = {} needs a network: set decoder.lpips_weights to vgg:TRUNK,HEADS", config.lpips_weight));
    lpips_.emplace(open_lpips(config.lpips_weights, warn));
  }

  // y: reconstructions of the images x, whose tokens are `tokens`.
  Var operator()(const Var& y, const Tensor& x, const Tensor& tokens, std::vector<StepMetric>& metrics) const {
    Var loss = mean(abs(y - x));
    metrics.push_back({"l1", loss.value()});
    const auto add = [&](const char* name, const Var& term, double weight) {
      metrics.push_back({name, term.value()});
      loss = loss + term * weight;
    };
    if (config_.feature_weight > 0) add("feature_loss", mean(square(autoencoder_.tokens(y) - tokens)), config_.feature_weight);
    if (lpips_) add("lpips", mean((*lpips_)(y * 2.0 - 1.0, x * 2.0 - 1.0)), config_.lpips_weight);
    return loss;
  }

  // Checksum of the LPIPS network.
  std::string perceptual_checksum() const { return lpips_ ? checksum(state_dict(*lpips_)) : "none"; }

 private:
  const DecoderStage& config_;
  const Rae& autoencoder_;
  std::optional<Lpips> lpips_;
};

// The features that the discriminator reads, and the checksum of their network; "encoder" for the run's own.
struct DiscriminatorBackbone {
  TokenMaps maps;
  std::string checksum;
};

DiscriminatorBackbone backbone_of(const GanConfig& config, const Rae& autoencoder, const Warn& warn) {
  if (config.backbone_weights.empty())
    return {[&autoencoder](const Var& images) {
              const VitEncoder& encoder = autoencoder.encoder;
              return maps_of(encoder.patches_after(autoencoder.encoder_input((images + 1.0) * 0.5), blocks_of_maps(encoder.config.depth)));
            }, stage_name::encoder};
  if (autoencoder.config.decoder.image_channels != 3)
    throw ConfigError(fmt::format("decoder.gan.backbone_weights = {}: DINO sees color images, and these have {} channel(s); leave it out to use this run's encoder",
                                  config.backbone_weights, autoencoder.config.decoder.image_channels));
  const auto dino = std::make_shared<const DinoVit>(load_dino_vit(config.backbone_weights, warn));
  return {[dino](const Var& images) { return dino->maps(images); }, checksum(state_dict(*dino))};
}

// R + weight w L_G for a part with the adversarial term.
StepLoss balanced(const Rae& autoencoder, const Var& latents, const GanTraining& gan, const StepPart& part, double weight,
                  const std::function<Var(const Var& y, std::vector<StepMetric>& metrics)>& reconstruction) {
  const RaeDecoder& decoder = autoencoder.decoder;
  StepLoss out;
  const auto image = [&](const Var& rows) { return restored(decoder.image_of(rows), autoencoder.config); };
  const BalancedLoss loss = balanced_loss(
      decoder.rows(latents), {&decoder.predict.weight, &decoder.predict.bias}, [&](const Var& rows) { return reconstruction(image(rows), out.metrics); },
      [&](const Var& rows) { return gan.term(image(rows), part); }, weight);
  out.loss = loss.loss;
  out.metrics.push_back({"g_loss", loss.second});
  out.metrics.push_back({"adaptive_weight", loss.weight});
  return out;
}

// Makes the discriminator in `gan`, and adds it to the decoder's stage.
void add_discriminator(std::optional<GanTraining>& gan, Stage& stage, const Recipe& recipe, const Rae& autoencoder, std::uint64_t seed, Communicator& ranks, const Warn& warn) {
  const DecoderStage& config = recipe.decoder;
  const DiscriminatorBackbone backbone = backbone_of(config.gan, autoencoder, warn);
  stage.made_from.emplace_back("discriminator_backbone", backbone.checksum);
  gan.emplace(GanTraining::Setup{config.gan, config.loop.rate, config.loop.batch, backbone.maps, {recipe.channels, recipe.image_size, recipe.image_size}, seed}, ranks);
  gan->add_to(stage, [&autoencoder](const GanTraining::Rows& rows) {
    const PauseTape pause;
    return autoencoder.pixels(rows.latents).value();
  });
}

}  // namespace

Outcome TrainingRun::train_decoder() {
  refuse_init_from(stage_name::decoder);
  const DecoderStage& config = recipe_.decoder;
  const std::uint64_t seed = stage_seed(stage_name::decoder);
  RaeOfRun& space = rae_of(*this);
  Rae& autoencoder = *space.model();
  set_trainable(autoencoder.encoder, false);
  autoencoder.decoder = RaeDecoder(recipe_.rae.decoder, seed);            // a new decoder, because --fresh must not continue an earlier one
  space.keep_decoder();
  RaeDecoder average = clone(autoencoder.decoder);
  Loader loader = picture_loader(seed);
  // The batch's images, with their latents if latents are kept in memory.
  const auto on_host = [&](const SampleBatch& batch) {
    return DecoderBatch{batch.x, recipe_.latents.from == "memory" ? gather(latents().raw.values, indices(batch.rows)) : Tensor()};
  };
  const auto tokens_of = [&](const DecoderBatch& batch) {
    if (batch.latents.defined()) return grid_to_tokens(batch.latents);
    const PauseTape pause;                          // without a gradient: the encoder is frozen
    return autoencoder.tokens(batch.pictures).value();
  };
  BatchAhead<DecoderBatch> batches([&](std::int64_t first, std::int64_t n, std::int64_t next) { return on_host(loader.take(first, n, next)); });

  Stage stage = make_stage(stage_name::decoder, autoencoder.decoder, &average);
  stage.prepare = [&] {
    if (recipe_.latents.from == "memory") latents();
  };
  stage.made_from = {{stage_name::encoder, checksum(state_dict(autoencoder.encoder))}};
  const ReconstructionLoss reconstruction(config, autoencoder, warner());
  stage.made_from.emplace_back("lpips", reconstruction.perceptual_checksum());
  std::optional<GanTraining> gan;
  if (config.gan.weight > 0) add_discriminator(gan, stage, recipe_, autoencoder, seed, *context_.ranks, warner());
  stage.loss = [&](const StepPart& part) {
    const std::int64_t first = part.step * config.loop.batch + part.first;
    const DecoderBatch batch = batches.take(first, part.count, part.next);
    const Tensor x = batch.pictures, tokens = tokens_of(batch);
    const Tensor latents = with_noise(tokens, consecutive(first, part.count), seed, config.noise_tau);
    if (gan) gan->keep({x, tokens, part});
    const auto distance = [&](const Var& y, std::vector<StepMetric>& metrics) { return reconstruction(y, x, tokens, metrics); };
    if (gan && gan->has_term(part.step)) return balanced(autoencoder, latents, *gan, part, config.gan.weight, distance);
    StepLoss out;
    out.loss = distance(autoencoder.pixels(latents), out.metrics);
    return out;
  };
  stage.preview = [&](std::int64_t, const std::filesystem::path& png) {
    DecoderBatch batch = on_host(picture_loader(seed + 1).batch(0, 16));
    batch.each_tensor([](Tensor& t) { t = t.defined() ? t.to(default_device()) : t; });
    const Tensor y = clamp(restored(average(tokens_of(batch)), recipe_.rae).value(), 0, 1);
    if (first_row_not_finite(y) >= 0) return context_.log.warning("no images of {}: the average decodes to numbers that are not finite", png.stem().string());
    std::vector<Image> grid = to_images(batch.pictures);
    for (Image& image : to_images(y)) grid.push_back(std::move(image));
    write_png(png, make_grid(grid, {.columns = 16, .scale = 2, .row_labels = {"image", "decoded"}}));
  };
  const Outcome outcome = train_loop(stage, config.loop, seed);
  copy_parameters(average, autoencoder.decoder);
  return outcome;
}

}  // namespace fm
