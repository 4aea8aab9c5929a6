// A baseline of the MF-RAE paper, by its published shape. It is counted, but not implemented.
#pragma once

#include "nn/flops/count.h"

namespace fm {

// A diffusion transformer on latents of the SD-VAE (Peebles & Xie 2023, DiT-XL/2). SiT-XL/2 (Ma et al. 2024) is the same network with another training
// loss. Both predict a second set of channels, which SiT's sampler drops. Names are those in DiT's checkpoints.
struct DitShape {
  std::int64_t latent_size = 32, channels = 4, patch_size = 2, width = 1152, depth = 28, mlp_ratio = 4, classes = 1000, out_channels = 8;
};
DitShape dit_xl_2(std::int64_t image_size);  // an element of the latent covers 8 x 8 pixels of the image

// The cost of one sample, as in count.h. ConfigError if the latent size is not a multiple of the patch size.
CostTable cost_table(const DitShape& shape);

}  // namespace fm
