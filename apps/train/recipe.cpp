#include "apps/train/recipe.h"

#include <string>

#include "tensor/error.h"

namespace fm {

void Recipe::take_sizes(const Dataset& set) {
  if (image_size == 0) image_size = set.height;
  if (channels == 0) channels = set.channels;
  if (classes == 0) classes = static_cast<std::int64_t>(set.class_names.size());
}

void Recipe::resolve() {
  if (!has_sizes() || classes < 2)
    throw ConfigError("image_size " + std::to_string(image_size) + ", channels " + std::to_string(channels) + ", classes " + std::to_string(classes) + ": sizes must be known, and two classes at least");
  DinoV2Config& e = rae.encoder;
  if (image_size % e.patch_size != 0)
    throw ConfigError("rae.encoder.patch_size " + std::to_string(e.patch_size) + " does not divide image_size " + std::to_string(image_size));
  if (encoder.local_size % e.patch_size != 0)
    throw ConfigError("encoder.local_size " + std::to_string(encoder.local_size) + " is no multiple of rae.encoder.patch_size " + std::to_string(e.patch_size));
  e.image_size = image_size;
  e.channels = judge.model.channels = rae.decoder.image_channels = channels;
  judge.model.size = image_size;
  judge.model.classes = dit.classes = classes;
  rae.decoder.latent_channels = dit.channels = e.width;
  rae.decoder.latent_size = dit.input_size = image_size / e.patch_size;
  rae.decoder.patch_size = e.patch_size;
  mft.velocity = mft.velocity.empty() ? "one-point" : mft.velocity;
  fm.objective.labels.null_label = cmt.objective.labels.null_label = mfd.objective.labels.null_label = mft.objective.labels.null_label = classes;
}

}  // namespace fm
