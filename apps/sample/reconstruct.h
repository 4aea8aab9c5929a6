// Pictures through the autoencoder of RAE: encoded, normalised, decoded (nn/models/rae.h), beside what they were.
#pragma once

#include <string>

#include "apps/sample/pictures.h"
#include "flowmap/training/chain/training_run.h"

namespace fm {

// `files`: PNG or JPEG, between commas; each is cropped as training images are (center_crop). Tells each one's PSNR and the root mean
// square of its normalised latent; writes --grid (pictures above, reconstructions below), --pngs (a file of the same name each) and --npz
// (reconstructions). FileError for a file that cannot be read, ConfigError for two of one name, before anything is written.
void reconstruct(TrainingRun& run, const std::string& files, const PictureConfig& config);

}  // namespace fm
