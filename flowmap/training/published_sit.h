// The part of published.h for networks on latents of an AutoencoderKL: SiT, REPA, REG and MeanFlow (nn/models/dit_weights.h).
#pragma once

#include "flowmap/training/published.h"

namespace fm {

// As open_published(). Latents are divided by the scale of --vae and decoded, and pixels rounded to the nearest level. --stats, the mean m and variance s^2 of
// the autoencoder's own latents, replaces this scale: z becomes z s + m, as in iMF (sdvae-sit.md 6). A velocity is sampled on times evenly from 1 to 0. A REG
// moves its class token along, from noise of its own. FileError if a file is of another kind, or the autoencoder's config.json has another scale than the
// latents of these networks and neither --latent-scale nor --stats says which is right. ConfigError for a checkpoint of a run.
Source open_published_sit(const PublishedConfig& config, const DrawConfig& draw, const Warn& warn, const std::function<void(const std::string&)>& say);

}  // namespace fm
