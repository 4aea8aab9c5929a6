// Models that are counted here but not built: the baselines of the paper, by their published shapes.
#pragma once

#include "nn/flops/count.h"

namespace fm {

// A diffusion transformer on latents of the SD-VAE (Peebles & Xie 2023, DiT-XL/2). SiT-XL/2 (Ma et al. 2024) is the same network trained
// differently; both predict a second set of channels that SiT's sampler drops. Names are those of DiT's checkpoints.
struct DitShape {
  std::int64_t latent_size = 32, channels = 4, patch_size = 2, width = 1152, depth = 28, mlp_ratio = 4, classes = 1000, out_channels = 8;
};
DitShape dit_xl_2(std::int64_t image_size);  // a pixel of the latent covers 8 of the image

// The decoder of the autoencoder of Stable Diffusion (Rombach et al. 2022, kl-f8; sd-vae-ft-mse and -ema are the same network): 3x3
// convolutions, attention at the lowest resolution, nearest-neighbor upsampling between the levels. Names are those of diffusers'
// AutoencoderKL.
struct VaeDecoderShape {
  std::int64_t latent_size = 32, latent_channels = 4, image_channels = 3, resnets = 3;
  std::vector<std::int64_t> widths = {512, 512, 256, 128};  // of the levels, the lowest resolution first
};
VaeDecoderShape sd_vae_decoder(std::int64_t image_size);

// The cost of one sample, as in count.h. ConfigError when a size does not divide.
CostTable cost_table(const DitShape& shape);
CostTable cost_table(const VaeDecoderShape& shape);

}  // namespace fm
