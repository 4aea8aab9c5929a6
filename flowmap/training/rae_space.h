// RAE (nn/models/rae.h) as a latent space.
#pragma once

#include <memory>

#include "flowmap/training/latent_space.h"
#include "nn/models/rae.h"

namespace fm {

// Both share the model: weights that are loaded into it later count.
LatentCoder rae_coder(std::shared_ptr<const Rae> rae);
// Without an encoder: encode throws Error. `pixels`: image_mean and image_std of the encoder's images.
LatentCoder rae_coder(std::shared_ptr<const RaeDecoder> decoder, RaeConfig pixels);

LatentSpace rae_space(std::shared_ptr<const Rae> rae, LatentStats statistics);   // Error without statistics

}  // namespace fm
