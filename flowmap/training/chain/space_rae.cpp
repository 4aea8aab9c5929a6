#include "flowmap/training/chain/space_rae.h"

#include <fmt/format.h>

#include "flowmap/training/rae_space.h"
#include "nn/flops/autoencoder.h"
#include "nn/loaded.h"
#include "nn/models/presets.h"
#include "nn/models/published_weights.h"
#include "tensor/error.h"

namespace fm {

std::shared_ptr<Rae> RaeOfRun::with_encoder() {
  const Recipe& r = run_.recipe();
  if (!rae_) {
    const auto rae = std::make_shared<Rae>(r.rae, TrainingRun::stage_seed("rae", r.seed));
    const StageSpec& stage = stage_that_makes(Makes::encoder);
    const std::string own = (run_.root() / stage.name / stage.file).string();
    const std::string file = r.encoder_weights.empty() ? own : r.encoder_weights;
    if (file == own && !std::filesystem::exists(own)) throw FileError(run_.not_trained(stage.name, own) + ", or name one with --encoder-weights");
    const Weights encoder = load_part(file, weights_part::encoder, run_.warner(), r.rae.encoder.affine_norm);
    of_this_run(file == own ? run_.root() / stage.name : "", [&] { load_model(rae->encoder, encoder); });
    run_.say_loaded(loaded_line(stage.name, rae->encoder, r.rae.encoder, encoder));
    set_trainable(rae->encoder, false);
    rae_ = rae;
  }
  return rae_;
}

std::shared_ptr<Rae> RaeOfRun::model() {
  const Recipe& r = run_.recipe();
  with_encoder();
  if (!has_decoder_ && run_.has_decoder()) {
    const char* name = stage_name::decoder;
    const bool given = !r.decoder_weights.empty();
    const Weights decoder = given ? load_part(r.decoder_weights, weights_part::decoder, run_.warner()) : run_.stage_weights(name);
    of_this_run(given ? "" : run_.root() / name, [&] { load_model(rae_->decoder, decoder); });
    run_.say_loaded(loaded_line(name, rae_->decoder, r.rae.decoder, decoder));
    has_decoder_ = true;
  }
  return rae_;
}

LatentCoder RaeOfRun::coder() {
  LatentCoder coder = rae_coder(model());
  if (has_decoder_) return coder;
  const std::string missing = run_.not_trained(stage_name::decoder, (run_.root() / stage_name::decoder).string());
  coder.decode = [missing](const Tensor&) -> Tensor { throw FileError(missing); };
  coder.decoder = coder.weights = [missing]() -> std::string { throw FileError(missing); };
  return coder;
}

void RaeOfRun::check_given() {
  const Recipe& r = run_.recipe();
  const auto exists = [](const std::string& file) { return !file.empty() && std::filesystem::exists(weights_and_part(file).first); };
  if (exists(r.encoder_weights)) {
    VitEncoder encoder(r.rae.encoder);
    load_model(encoder, load_part(r.encoder_weights, weights_part::encoder, run_.warner(), r.rae.encoder.affine_norm));
  }
  if (exists(r.decoder_weights)) {
    RaeDecoder decoder(r.rae.decoder);
    load_model(decoder, load_part(r.decoder_weights, weights_part::decoder, run_.warner()));
  }
}

RaeOfRun& rae_of(TrainingRun& run) {
  if (auto* rae = dynamic_cast<RaeOfRun*>(&run.run_space())) return *rae;
  throw ConfigError(fmt::format("space = \"{}\" has no encoder and decoder to train; that is for space = \"rae\"", run.recipe().space));
}

namespace {

bool rae_uses(const Recipe&, Makes what) { return what != Makes::autoencoder; }

// Takes widths, depths and heads of the published models. The settings of the computation (precision, recompute) stay as they are.
void take_published_sizes(Recipe& r) {
  if (!r.encoder_model.empty()) {
    RaeConfig c = ::fm::rae(r.encoder_model, "XL", r.image_size);
    c.encoder.precision = r.rae.encoder.precision;
    c.decoder = r.rae.decoder;
    r.rae = c;
  }
  if (!r.decoder_size.empty()) {
    RaeDecoderConfig c = rae_decoder(r.decoder_size, r.image_size);
    c.precision = r.rae.decoder.precision;
    r.rae.decoder = c;
  }
}

void resolve_rae(Recipe& r) {
  need_labels(r);
  if (!r.vae_weights.empty()) throw ConfigError("vae_weights is for space = \"vae\"; with space = \"rae\" leave it out");
  r.vae.loop.steps = 0;
  r.take_published_network();
  fit_rae(r);
  fit_judge(r);
}

Shape shape_of_rae(const Recipe& r) { return {r.rae.decoder.latent_channels, r.rae.decoder.latent_size, r.rae.decoder.latent_size}; }

double rae_encode_flops(const Recipe& r) {
  const std::int64_t seen = r.rae.input_size > 0 ? r.rae.input_size : r.image_size;
  return 2 * static_cast<double>(total(cost_table(r.rae.encoder, seen)).macs());
}

std::int64_t rae_decode_macs(const Recipe& r) { return total(cost_table(r.rae.decoder)).macs_linear; }

std::int64_t rae_parameters(const Recipe& r) {
  const ShapesOnly shapes;
  return parameter_count(VitEncoder(r.rae.encoder)) + parameter_count(RaeDecoder(r.rae.decoder));
}

std::unique_ptr<RunSpace> open_rae(TrainingRun& run) { return std::make_unique<RaeOfRun>(run); }

}  // namespace

void fit_rae(Recipe& r) {
  take_published_sizes(r);
  VitEncoderConfig& e = r.rae.encoder;
  const bool resized = r.rae.input_size > 0;
  const std::int64_t seen = resized ? r.rae.input_size : r.image_size;              // side of the images that the encoder gets
  if (seen % e.patch_size != 0)
    throw ConfigError("rae.encoder.patch_size " + std::to_string(e.patch_size) + " does not divide " +
                      (resized ? "rae.input_size " : "image_size ") + std::to_string(seen));
  const std::int64_t latent = seen / e.patch_size;
  if (r.image_size % latent != 0)
    throw ConfigError("image_size " + std::to_string(r.image_size) + " is not a multiple of the encoder's " + std::to_string(latent) +
                      " tokens a side (rae.input_size / rae.encoder.patch_size): choose an rae.input_size for which it is");
  if (r.encoder_weights.empty() && r.encoder.local_size % e.patch_size != 0)
    throw ConfigError("encoder.local_size " + std::to_string(r.encoder.local_size) + " is not a multiple of rae.encoder.patch_size " +
                      std::to_string(e.patch_size));
  if (!resized) e.image_size = r.image_size;         // an encoder with an input size keeps the position grid that its weights have
  e.channels = r.rae.decoder.image_channels = r.channels;
  r.rae.decoder.latent_channels = e.width;
  r.rae.decoder.latent_size = latent;
  r.rae.decoder.patch_size = r.image_size / latent;
}

SpaceSpec rae_row() {
  return {.name = "rae", .says = "latents of images by a representation autoencoder", .pictures = true, .encodes = true, .uses = rae_uses, .take_sizes = take_picture_sizes,
                        .has_sizes = has_picture_sizes, .resolve = resolve_rae, .shape = shape_of_rae, .samples = picture_text, .sample_bytes = picture_bytes,
                        .encode_flops = rae_encode_flops, .decode_macs = rae_decode_macs, .parameters = rae_parameters, .open = open_rae};
}

}  // namespace fm
