// AutoencoderKL (nn/models/autoencoder_kl.h) as a latent space. Images in [0, 1] become 2x - 1 before its encoder; decoded pixels are moved back and clamped.
//
//   raw latent     mean | deviation of the posterior       latent     (mean + deviation n) scale,  n ~ N(0, I) at each visit in training
//
// `scale` is a property of the weights: 0.18215 for Stable Diffusion's. For an autoencoder of one's own it is 1 / deviation of all numbers of the latents,
// as in latent diffusion (Rombach et al. 2022, section 4.3.2 and appendix G). Either is expressed by statistics: mean 0 and variance 1 / scale^2.
#pragma once

#include <memory>

#include "flowmap/training/latent_space.h"
#include "nn/models/autoencoder_kl.h"

namespace fm {

// `side`: side of the images. `tile`: side of the tiles that are decoded one by one (autoencoder_kl_tiles.h), which overlap by a quarter; 0: no tiles. The coder
// shares its model, so weights that are loaded into it later change the coder. ShapeError unless config.factor() divides `side`.
LatentCoder vae_coder(std::shared_ptr<const AutoencoderKL> vae, std::int64_t side, std::int64_t tile = 0);

// The statistics that multiply a latent of this shape by `scale` > 0.
LatentStats scaling_by(double scale, const Shape& latent);

// From mean and variance of each number of stored mean | deviation (2C, ...), those of the latents that are drawn, as one scaling for all numbers:
//
//   E z = E mean,   E z^2 = E mean^2 + E deviation^2,   variance of all numbers z together = mean over elements of E z^2 - (mean over elements of E z)^2
//
// ConfigError if that is not a positive number.
LatentStats scaling_of_posteriors(const LatentStats& stored);

}  // namespace fm
