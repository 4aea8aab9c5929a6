// The RAE decoder: undoes the frozen encoder on noisy latents, and the statistics of the latents (mfrae 1.1, 1.2, 3).
//
//   loss = mean |x' - x| + feature_weight mean |E(x') - E(x)|^2,   x' = D(E(x) + sigma n),   sigma = noise_tau U[0, 1) per sample
#include "apps/train/training_run.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "data/grid.h"
#include "data/png.h"
#include "nn/models/published_weights.h"

namespace fm {
namespace {

constexpr std::uint32_t scale_stream = 0x5343414C, noise_stream = 0x4E4F4953;

Tensor with_noise(const Tensor& tokens, const Samples& samples, std::uint64_t seed, double tau) {
  const Tensor scale = random_uniform_rows(samples, {1, 1}, {seed, scale_stream}) * tau;
  return tokens + scale * random_normal_rows(samples, {tokens.dim(1), tokens.dim(2)}, {seed, noise_stream});
}

}  // namespace

Outcome TrainingRun::train_decoder() {
  refuse_init_from("decoder");
  const DecoderStage& config = recipe_.decoder;
  const Dataset& data = train_data();
  const LatentSet& set = latents();
  const std::uint64_t seed = stage_seed("decoder");
  Rae& autoencoder = rae();
  autoencoder.stats = {};                           // the decoder works on raw latents
  set_trainable(autoencoder.encoder, false);
  autoencoder.decoder = RaeDecoder(recipe_.rae.decoder, seed);            // not the one that a stage before this left: --fresh means fresh
  RaeDecoder average = clone(autoencoder.decoder);

  Stage stage = make_stage("decoder", autoencoder.decoder, &average);
  stage.made_from = {{"encoder", checksum(state_dict(autoencoder.encoder))}};
  stage.loss = [&](const StepPart& part) {
    const std::int64_t first = part.step * config.loop.batch + part.first;
    const auto rows = shuffled_rows(data.count, seed, first, part.count);
    const Tensor x = image_rows(data, rows), index = Tensor::from(rows, {part.count});
    const Tensor tokens = grid_to_tokens(gather(set.latents, index));
    const Var y = autoencoder.pixels(with_noise(tokens, consecutive(first, part.count), seed, config.noise_tau));
    const Var l1 = mean(abs(y - x));
    const Var features = mean(square(autoencoder.tokens(y) - tokens));
    return StepLoss{l1 + features * config.feature_weight, {{"l1", l1.value().item()}, {"feature_loss", features.value().item()}}};
  };
  stage.preview = [&](std::int64_t, const std::filesystem::path& png) {
    const std::vector<std::int64_t> rows = shuffled_rows(data.count, seed + 1, 0, 16);
    const Tensor x = image_rows(data, rows), z = gather(set.latents, Tensor::from(rows, {16}));
    const Tensor y = clamp(restored(average(grid_to_tokens(z)), recipe_.rae).value(), 0, 1);
    std::vector<Image> pictures;
    for (const Tensor& batch : {x, y})
      for (int i = 0; i < 16; ++i)
        pictures.push_back(image_from_planes(batch.select(0, i).data<float>(), data.channels, data.height, data.width));
    write_png(png, make_grid(pictures, {.columns = 16, .scale = 2, .row_labels = {"image", "decoded"}}));
  };
  const Outcome outcome = train_loop(stage, config.loop, seed);
  copy_parameters(average, autoencoder.decoder);
  return outcome;
}

// They are for one encoder: another one (encoder --fresh, other encoder_weights) has its own.
void TrainingRun::prepare_stats() {
  if (!recipe_.stats_file.empty()) {
    rae().stats = load_stats(recipe_.stats_file, warner());
    return;
  }
  const auto file = root_ / "stats.safetensors";
  const std::string encoder = checksum(state_dict(rae().encoder));
  const auto belongs = [&](const Metadata& m) { return m.contains("encoder") && m.at("encoder") == encoder; };
  if (!std::filesystem::exists(file) || !belongs(Safetensors(file).metadata())) {
    const LatentStats s = latent_statistics(latents().latents);
    save_safetensors(file, {{"mean", s.mean}, {"var", s.variance}},
                     {{"data", recipe_.data}, {"count", std::to_string(latents().latents.dim(0))}, {"encoder", encoder}});
    context_.log.info("stats: mean and variance of {} latents in {}", latents().latents.dim(0), file.string());
  }
  const Safetensors stored(file);
  rae().stats = {stored["mean"].clone(), stored["var"].clone()};
}

}  // namespace fm
