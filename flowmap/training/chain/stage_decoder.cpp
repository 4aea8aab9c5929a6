// Trains the RAE decoder, which decodes noisy latents of the frozen encoder (mfrae 1.1, 3).
//
//   loss = mean |x' - x| + feature_weight mean |E(x') - E(x)|^2,   x' = D(E(x) + sigma n),   sigma = noise_tau U[0, 1) per sample
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "data/grid.h"
#include "data/png.h"
#include "flowmap/metrics/frechet.h"
#include "flowmap/training/chain/space_rae.h"
#include "flowmap/training/chain/training_run.h"

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
  stage.loss = [&](const StepPart& part) {
    const std::int64_t first = part.step * config.loop.batch + part.first;
    const DecoderBatch batch = batches.take(first, part.count, part.next);
    const Tensor x = batch.pictures, tokens = tokens_of(batch);
    const Var y = autoencoder.pixels(with_noise(tokens, consecutive(first, part.count), seed, config.noise_tau));
    const Var l1 = mean(abs(y - x));
    const Var features = mean(square(autoencoder.tokens(y) - tokens));
    return StepLoss{l1 + features * config.feature_weight, {{"l1", l1.value()}, {"feature_loss", features.value()}}};
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
