#include "flowmap/training/chain/space_vae.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <optional>

#include "flowmap/training/vae_space.h"
#include "nn/flops/autoencoder.h"
#include "nn/loaded.h"
#include "nn/models/published_weights.h"
#include "tensor/error.h"

namespace fm {

namespace {

// Refuses weights of other sizes than the recipe's by the keys that differ, instead of by every tensor.
void check_sizes_of(const Weights& weights, const AutoencoderKLConfig& wanted) {
  const AutoencoderKLConfig found = autoencoder_kl_config_of(weights, wanted.groups);
  const auto check_size = [&](const char* key, const auto& in_file, const auto& in_recipe) {
    if (in_file != in_recipe) throw FileError(fmt::format("{}: an autoencoder with {} = {}, but the recipe says {}: change vae.model.{}, or give other weights", weights.file.string(), key, in_file, in_recipe, key));
  };
  check_size("widths", found.widths, wanted.widths);
  check_size("resnets", found.resnets, wanted.resnets);
  check_size("latent_channels", found.latent_channels, wanted.latent_channels);
  if (found.image_channels != wanted.image_channels)
    throw FileError(fmt::format("{}: an autoencoder of images with {} channels, but the data has {}: give other weights or other data", weights.file.string(), found.image_channels,
                                wanted.image_channels));
}

// Refuses a published file whose own scale of latents, in the config.json beside it, is not the recipe's. A scale of 0 is measured.
void check_scale_of(const Weights& weights, double wanted) {
  const std::optional<double> own = scaling_factor_beside(weights.file);
  if (wanted > 0 && own && std::abs(*own - wanted) > 1e-9)
    throw FileError(fmt::format("{}: its config.json has scaling_factor {}, but vae.model.scale is {}: set it to that, or give other weights", weights.file.string(), *own, wanted));
}

}  // namespace

Weights VaeOfRun::weights() {
  const Recipe& r = run_.recipe();
  Weights weights = r.vae_weights.empty() ? run_.stage_weights(stage_name::vae) : load_part(r.vae_weights, weights_part::vae, run_.warner());
  of_this_run(r.vae_weights.empty() ? run_.root() / stage_name::vae : "", [&] { check_sizes_of(weights, r.vae.model); });
  if (!r.vae_weights.empty()) check_scale_of(weights, r.vae.model.scale);
  return weights;
}

std::shared_ptr<AutoencoderKL> VaeOfRun::model() {
  if (vae_) return vae_;
  const Recipe& r = run_.recipe();
  const auto vae = std::make_shared<AutoencoderKL>(r.vae.model, TrainingRun::stage_seed(stage_name::vae, r.seed));
  const Weights loaded = weights();
  of_this_run(r.vae_weights.empty() ? run_.root() / stage_name::vae : "", [&] { load_model(*vae, loaded); });
  run_.say_loaded(loaded_line(stage_name::vae, *vae, r.vae.model, loaded));
  set_trainable(*vae, false);
  return vae_ = vae;
}

std::shared_ptr<AutoencoderKL> VaeOfRun::untrained(std::uint64_t seed) { return vae_ = std::make_shared<AutoencoderKL>(run_.recipe().vae.model, seed); }

LatentCoder VaeOfRun::coder() { return vae_coder(model(), run_.recipe().image_size); }

LatentStats VaeOfRun::given_statistics() {
  const Recipe& r = run_.recipe();
  return r.vae.model.scale > 0 ? scaling_by(r.vae.model.scale, r.latent_shape()) : LatentStats();
}

void VaeOfRun::check_given() {
  const std::string& given = run_.recipe().vae_weights;
  if (given.empty() || !std::filesystem::exists(weights_and_part(given).first)) return;
  AutoencoderKL vae(run_.recipe().vae.model);
  load_model(vae, weights());
}

VaeOfRun& vae_of(TrainingRun& run) {
  if (auto* vae = dynamic_cast<VaeOfRun*>(&run.run_space())) return *vae;
  throw ConfigError(fmt::format("space = \"{}\" has no variational autoencoder to train; that is for space = \"vae\"", run.recipe().space));
}

namespace {

// Whether the run trains its own autoencoder with a feature loss, for which it needs an encoder.
bool compares_features(const Recipe& r) { return r.vae_weights.empty() && r.vae.feature_weight > 0; }

bool vae_uses(const Recipe& r, Makes what) {
  if (what == Makes::encoder) return compares_features(r);
  if (what == Makes::statistics) return r.vae.model.scale == 0;
  return what == Makes::autoencoder || what == Makes::classifier || what == Makes::latents;
}

Shape shape_of_vae(const Recipe& r) {
  const AutoencoderKLConfig& c = r.vae.model;
  return {c.latent_channels, r.image_size / c.factor(), r.image_size / c.factor()};
}

void resolve_vae(Recipe& r) {
  need_labels(r);
  for (const auto& [key, set] : {std::pair{"decoder_weights", !r.decoder_weights.empty()}, {"decoder_size", !r.decoder_size.empty()}, {"stats_file", !r.stats_file.empty()}})
    if (set) throw ConfigError(fmt::format("{} is for space = \"rae\"; with space = \"vae\" leave it out", key));
  if (!r.latents.given.empty() && r.latents.from != "cache")
    throw ConfigError(fmt::format("latents.given {} goes into a cache, from which generators are trained: add --latents cache", r.latents.given));
  AutoencoderKLConfig& c = r.vae.model;
  c.image_channels = r.channels;
  if (r.image_size % c.factor() != 0)
    throw ConfigError(fmt::format("image_size {} is not a multiple of {}, the side in pixels that an element of the latent covers with {} levels (vae.model.widths): "
                                  "choose another size, or fewer levels", r.image_size, c.factor(), c.widths.size()));
  r.take_published_network();
  if (compares_features(r)) {
    fit_rae(r);
  } else {
    r.rae = {};                                              // unused: its sizes need not fit the images
    r.encoder.loop.steps = 0;
  }
  r.decoder.loop.steps = 0;
  fit_judge(r);
}

double vae_encode_flops(const Recipe& r) { return 2 * static_cast<double>(total(encoder_costs(r.vae.model, r.image_size)).macs()); }

std::int64_t vae_decode_macs(const Recipe& r) { return total(decoder_costs(r.vae.model, r.image_size)).macs_linear; }

std::int64_t parameters_of_vae(const Recipe& r) {
  const ShapesOnly shapes;
  return parameter_count(AutoencoderKL(r.vae.model)) + (compares_features(r) ? parameter_count(VitEncoder(r.rae.encoder)) : 0);
}

std::unique_ptr<RunSpace> open_vae(TrainingRun& run) { return std::make_unique<VaeOfRun>(run); }

}  // namespace

SpaceSpec vae_row() {
  return {.name = "vae", .says = "latents of images by a variational autoencoder, drawn anew at each use", .pictures = true, .encodes = true, .rounding = Rounding::nearest, .uses = vae_uses,
          .take_sizes = take_picture_sizes, .has_sizes = has_picture_sizes, .resolve = resolve_vae, .shape = shape_of_vae, .samples = picture_text,
          .sample_bytes = picture_bytes, .encode_flops = vae_encode_flops, .decode_macs = vae_decode_macs, .parameters = parameters_of_vae, .open = open_vae};
}

}  // namespace fm
