// Pixels of images as latents: levels in [0, 1] become values in [-1, 1], without training.
#include <fmt/format.h>

#include "flowmap/training/chain/spaces.h"
#include "flowmap/training/chain/training_run.h"
#include "tensor/error.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

Shape shape_of_pixels(const Recipe& r) { return {r.channels, r.image_size, r.image_size}; }

class PixelsOfRun : public RunSpace {
 public:
  explicit PixelsOfRun(TrainingRun& run) : run_(run) {}
  LatentCoder coder() override {
    return {.name = "pixels",
            .shape = shape_of_pixels(run_.recipe()),
            .encode = [](const Tensor& images) { return images * 2.0 - 1.0; },
            .decode = [](const Tensor& raw) { return clamp(raw * 0.5 + 0.5, 0, 1); }};
  }

 private:
  TrainingRun& run_;
};

bool pixels_uses(const Recipe&, Makes what) { return what == Makes::classifier || what == Makes::latents; }

void resolve_pixels(Recipe& r) {
  for (const auto& [key, set] : {std::pair{"encoder_weights", !r.encoder_weights.empty()}, {"decoder_weights", !r.decoder_weights.empty()}, {"vae_weights", !r.vae_weights.empty()},
                                 {"stats_file", !r.stats_file.empty()}, {"encoder_model", !r.encoder_model.empty()}, {"decoder_size", !r.decoder_size.empty()}})
    if (set) throw ConfigError(fmt::format("{} is for an autoencoder; with space = \"{}\" leave it out", key, r.space));
  need_labels(r);
  r.take_published_network();
  r.rae = {};                                               // unused: its sizes need not fit the images
  r.encoder.loop.steps = r.decoder.loop.steps = r.vae.loop.steps = 0;
  fit_judge(r);
}

std::unique_ptr<RunSpace> open_pixels(TrainingRun& run) { return std::make_unique<PixelsOfRun>(run); }

}  // namespace

SpaceSpec pixels_row() {
  return {.name = "pixels", .says = "the pixels of images", .pictures = true, .encodes = true, .uses = pixels_uses, .take_sizes = take_picture_sizes,
          .has_sizes = has_picture_sizes, .resolve = resolve_pixels, .shape = shape_of_pixels, .samples = picture_text, .sample_bytes = picture_bytes,
          .encode_flops = nullptr, .decode_macs = nullptr, .parameters = nullptr, .open = open_pixels};
}

}  // namespace fm
