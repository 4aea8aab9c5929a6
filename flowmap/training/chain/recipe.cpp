#include "flowmap/training/chain/recipe.h"

#include <fmt/format.h>

#include <string>

#include "data/report/csv.h"
#include "data/source.h"
#include "flowmap/training/chain/feature_rows.h"
#include "flowmap/training/chain/spaces.h"
#include "flowmap/training/chain/stages.h"
#include "nn/models/presets.h"
#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {

bool Recipe::has_sizes() const { return space_of(*this).has_sizes(*this); }
bool Recipe::in_plane() const { return !space_of(*this).pictures && sample_shape == Shape{2}; }
Shape Recipe::latent_shape() const { return space_of(*this).shape(*this); }
Shape Recipe::stored_latent_shape() const {
  const Shape latent = latent_shape();
  return space_of(*this).uses(*this, Makes::autoencoder) ? latent.with(0, 2 * latent[0]) : latent;
}
void Recipe::take_sizes(const SampleSource& source, const std::string& user) {
  if (source.has_noise() && space != "identity")
    throw ConfigError(fmt::format("{}: noise that comes with the samples is for space = \"identity\", not {}: leave noise= out", source.name(), space));
  space_of(*this).take_sizes(*this, source, user);
}

void Recipe::take_sizes(std::int64_t data_size, std::int64_t data_channels, std::int64_t data_classes) {
  if (image_size == 0) image_size = data_size;
  if (channels == 0) channels = data_channels;
  if (classes == 0) classes = data_classes;
}

std::vector<int> parse_steps(const std::string& list) {
  std::vector<int> steps;
  for (const std::string_view part : csv_cells(list)) {
    std::int64_t n = 0;
    if (!parse_integer(part, n) || n < 1 || n > 10000)
      throw ConfigError("steps '" + list + "' must be numbers of network calls, such as 1,2,4");
    steps.push_back(narrow<int>(n));
  }
  return steps;
}

namespace {

// ConfigError for an invalid learning rate, and for micro-batches so small that the list of a step's parts would need more memory than anything else.
void check_loop(const std::string& stage, const LoopConfig& loop) {
  constexpr std::int64_t most_parts = 1000000;
  check(loop.rate);
  if (loop.micro_batch > 0 && loop.batch / loop.micro_batch > most_parts)
    throw ConfigError("config: " + stage + ".loop.micro_batch = " + std::to_string(loop.micro_batch) + " cuts the batch of " +
                      std::to_string(loop.batch) + " into more than " + std::to_string(most_parts) + " parts: raise it");
}

}  // namespace

void Recipe::take_published_network() {
  if (!dit_size.empty()) network.take_size(dit_size);
}

std::vector<std::string> published_networks() {
  std::vector<std::string> names{"", "S", "B", "L", "XL"};
  for (const std::string& name : dit_sizes()) names.push_back(name);
  return names;
}

void Recipe::resolve_with_data() {
  if (!has_sizes()) {
    take_sizes(*open_source(data, Split::train), "the size of a step");
  }
  resolve();
}

// Refuses settings that have no effect because no image is encoded, decoded or judged.
void Recipe::refuse_settings_of_pictures() const {
  for (const auto& [key, set] : {std::pair{"latents.flip", latents.flip}, {"encoder_weights", !encoder_weights.empty()}, {"decoder_weights", !decoder_weights.empty()}, {"vae_weights", !vae_weights.empty()},
                                 {"stats_file", !stats_file.empty()}, {"judge_weights", !judge_weights.empty()}, {"encoder_model", !encoder_model.empty()},
                                 {"decoder_size", !decoder_size.empty()}, {"image_size", image_size != 0},
                                 {"channels", channels != 0}, {"evaluate.reference", evaluate.reference != 0 && sample_shape == Shape{2}}})
    if (set) throw ConfigError(std::string(key) + " is for images; with space = \"identity\" leave it out");
}

// Samples are their own latents, so the stages that make latents of images get 0 steps.
void Recipe::resolve_identity() {
  judge.loop.steps = encoder.loop.steps = decoder.loop.steps = vae.loop.steps = 0;
  refuse_settings_of_pictures();
  take_published_network();
  if (latents.from != "memory")
    throw ConfigError("latents.from " + latents.from + " is for latents of images; with space = \"identity\" samples are read from memory: leave it out");
  if (!conditional && guidance != 1) throw ConfigError("guidance needs networks with labels: set conditional = true, or guidance = 1");
}

void Recipe::resolve() {
  check_rules(list_fields(*this), "config");
  if (!has_sizes())
    throw ConfigError("image_size " + std::to_string(image_size) + ", channels " + std::to_string(channels) + ", classes " +
                      std::to_string(classes) + ": sizes that are 0 are not known; set them, or take them from the data set first");
  if (guidance_from > guidance_to)
    throw ConfigError(fmt::format("guidance_from {} is above guidance_to {}: no time lies between these values; exchange them", guidance_from, guidance_to));
  if (!latents.given.empty() && !space_of(*this).uses(*this, Makes::autoencoder))
    throw ConfigError(fmt::format("latents.given {}: mean and deviation of latents are for space = \"vae\", not \"{}\": leave it out", latents.given, space));
  space_of(*this).resolve(*this);
  network.fit({latent_shape(), conditional ? classes : 0, data});
  if (compat != "paper") cmt.objective.compat = mfd.objective.compat = mft.objective.compat = Compat::named(compat);
  for (const StageSpec& s : stage_table())
    if (s.loop != nullptr) check_loop(s.name, s.loop(*this));
  teacher_share(mfd.velocity);
  teacher_share(mft.velocity);
  teacher_share(map.velocity);
  parse_steps(evaluate.steps);
  check_features(*this);
  mft.velocity = mft.velocity.empty() ? "one-point" : mft.velocity;
  fm.objective.labels.null_label = cmt.objective.labels.null_label = mfd.objective.labels.null_label = mft.objective.labels.null_label =
      classes;
  map.objective.set_null_label(classes);
  checked_config(*this, "config");
}

}  // namespace fm
