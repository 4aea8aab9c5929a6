// The baselines of the MF-RAE paper, by their published shapes. They are counted, but not implemented.
#pragma once

#include "nn/flops/count.h"

namespace fm {

// A diffusion transformer on latents of the SD-VAE (Peebles & Xie 2023, DiT-XL/2). SiT-XL/2 (Ma et al. 2024) is the same network with another training
// loss. Both predict a second set of channels, which SiT's sampler drops. Names are those in DiT's checkpoints.
struct DitShape {
  std::int64_t latent_size = 32, channels = 4, patch_size = 2, width = 1152, depth = 28, mlp_ratio = 4, classes = 1000, out_channels = 8;
};
DitShape dit_xl_2(std::int64_t image_size);  // an element of the latent covers 8 x 8 pixels of the image

// The decoder of the autoencoder of Stable Diffusion (Rombach et al. 2022, kl-f8; sd-vae-ft-mse and -ema are the same network): 3x3
// convolutions, attention at the lowest resolution, nearest-neighbor upsampling between the levels. Names are those in
// AutoencoderKL of diffusers.
struct VaeDecoderShape {
  std::int64_t latent_size = 32, latent_channels = 4, image_channels = 3, resnets = 3;
  std::vector<std::int64_t> widths = {512, 512, 256, 128};  // width of each level, the lowest resolution first
};
VaeDecoderShape sd_vae_decoder(std::int64_t image_size);

// The cost of one sample, as in count.h. ConfigError if the latent size is not a multiple of the patch size.
CostTable cost_table(const DitShape& shape);
CostTable cost_table(const VaeDecoderShape& shape);

}  // namespace fm
