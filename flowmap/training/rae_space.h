// RAE (nn/models/rae.h) as a latent space.
#pragma once

#include <memory>

#include "flowmap/training/latent_space.h"
#include "nn/models/rae.h"

namespace fm {

// Both coders share their model, so weights that are loaded into it later change the coder.
LatentCoder rae_coder(std::shared_ptr<const Rae> rae);
// A coder without an encoder: its encode throws Error. `pixels`: its image_mean and image_std are those of the encoder's images.
LatentCoder rae_coder(std::shared_ptr<const RaeDecoder> decoder, RaeConfig pixels);

LatentSpace rae_space(std::shared_ptr<const Rae> rae, LatentStats statistics);   // Error without statistics

}  // namespace fm
