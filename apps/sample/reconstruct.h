// Passes images through RAE's autoencoder (encode, normalize, decode: nn/models/rae.h) and shows the results beside the originals.
#pragma once

#include <string>

#include "apps/sample/pictures.h"
#include "flowmap/training/chain/training_run.h"

namespace fm {

// `files`: PNG or JPEG, separated by commas; each is cropped like training images (center_crop). Prints the PSNR of each and the root mean
// square of its normalized latent; writes --grid (images above, reconstructions below), --pngs (a file of the same name each) and --npz
// (reconstructions). FileError for an unreadable file, ConfigError for two files with one name. Both come before anything is written.
void reconstruct(TrainingRun& run, const std::string& files, const PictureConfig& config);

}  // namespace fm
