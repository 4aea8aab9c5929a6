// Trains a variational autoencoder with encoder and decoder at once (Rombach et al. 2022, appendix G, without its discriminator):
//
//   loss = mean |x' - x| + feature_weight mean |E(x') - E(x)|^2 + kl_weight KL / (values of an image),   x' = D(mean + deviation n),  n ~ N(0, I)
//   KL   = 1/2 sum (mean^2 + deviation^2 - 1 - log deviation^2) over the numbers of a latent
//
// Images are in [-1, 1] in the first term; E, the frozen encoder of the run, sees them in [0, 1]. With features by E instead of LPIPS this is the loss of
// latent diffusion up to the factor of the number of values, so its kl_weight means the same here.
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "data/grid.h"
#include "data/png.h"
#include "flowmap/draws.h"
#include "flowmap/metrics/frechet.h"
#include "flowmap/training/chain/space_vae.h"
#include "flowmap/training/chain/training_run.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

struct PictureBatch {
  Tensor pictures;
  template <class F> void each_tensor(F&& f) { f(pictures); }
};

Var divergence(const DiagonalGaussian& posterior) {
  const Var& log_variance = posterior.log_variance;
  return sum(square(posterior.mean) + exp(log_variance) - log_variance - 1.0) * 0.5;
}

}  // namespace

Outcome TrainingRun::train_vae() {
  refuse_init_from(stage_name::vae);
  const VaeStage& config = recipe_.vae;
  const std::uint64_t seed = stage_seed(stage_name::vae);
  VaeOfRun& space = vae_of(*this);
  AutoencoderKL& vae = *space.untrained(seed);
  AutoencoderKL average = clone(vae);
  const std::shared_ptr<const Rae> encoder = config.feature_weight > 0 ? space.features() : nullptr;
  Loader loader = picture_loader(seed);
  BatchAhead<PictureBatch> batches([&](std::int64_t first, std::int64_t n, std::int64_t next) { return PictureBatch{loader.take(first, n, next).x}; });

  Stage stage = make_stage(stage_name::vae, vae, &average);
  if (encoder) stage.made_from = {{stage_name::encoder, checksum(state_dict(encoder->encoder))}};
  stage.loss = [&](const StepPart& part) {
    const Tensor x = batches.take(part.step * config.loop.batch + part.first, part.count, part.next).pictures;
    const Draws draws{seed, narrow<std::uint32_t>(part.step, "step"), consecutive(part.first, part.count)};
    const DiagonalGaussian posterior = vae.posterior(x * 2.0 - 1.0);
    const Var y = vae.decode(posterior.sample(draws.normal(posterior.mean.value().shape().without(0), DType::f32, Purpose::posterior))) * 0.5 + 0.5;
    const Var l1 = mean(abs(y - x)) * 2.0;
    const Var kl = divergence(posterior) * (1 / static_cast<double>(x.numel()));
    StepLoss out{l1 + kl * config.kl_weight, {{"l1", l1.value()}, {"kl", kl.value()}}};
    if (!encoder) return out;
    const auto tokens = [&] {
      const PauseTape pause;                        // without a gradient: these are the targets
      return encoder->tokens(x).value();
    }();
    const Var features = mean(square(encoder->tokens(y) - tokens));
    out.loss = out.loss + features * config.feature_weight;
    out.metrics.push_back({"feature_loss", features.value()});
    return out;
  };
  stage.preview = [&](std::int64_t, const std::filesystem::path& png) {
    const Tensor x = picture_loader(seed + 1).batch(0, 16).x.to(default_device());
    const PauseTape pause;
    const Tensor y = clamp(average.decode(average.posterior(x * 2.0 - 1.0).mean).value() * 0.5 + 0.5, 0, 1);
    if (first_row_not_finite(y) >= 0) return context_.log.warning("no images of {}: the average decodes to numbers that are not finite", png.stem().string());
    std::vector<Image> grid = to_images(x);
    for (Image& image : to_images(y)) grid.push_back(std::move(image));
    write_png(png, make_grid(grid, {.columns = 16, .scale = 2, .row_labels = {"image", "decoded"}}));
  };
  const Outcome outcome = train_loop(stage, config.loop, seed);
  copy_parameters(average, vae);
  set_trainable(vae, false);
  return outcome;
}

}  // namespace fm
