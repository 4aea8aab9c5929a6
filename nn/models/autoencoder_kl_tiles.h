// Decodes large latents tile by tile, so that memory grows with the tile instead of the image (AutoencoderKL's largest tensors have 256 channels at the
// image's resolution, and its attention has one score for each pair of latent positions).
//
//   Tensor image = decode_tiles(model, latents, {.tile = 64, .overlap = 16});
//
// Neighboring tiles overlap. In an overlap of e pixels, pixel k of it is (1 - k/e) times the first tile plus k/e times the second, as in diffusers'
// tiled decoding. The last tile of a row or column is moved back to have full size, so its overlap can be larger.
//
// The result is not that of decode(): the group norms and the attention of a tile see that tile alone, so colors can differ slightly everywhere, and
// more with smaller tiles. A latent that is not larger than a tile is decoded as a whole, to the bits of decode().
#pragma once

#include "nn/models/autoencoder_kl.h"

namespace fm {

struct Tiling {
  std::int64_t tile = 64, overlap = 16;          // side of a tile and of the overlap with the next, in positions of the latent
};

// Latents (B,latent_channels,h,w), already divided by `scale`, -> images (B,image_channels,factor h,factor w), not clamped and without gradients.
// ConfigError unless 0 <= overlap < tile; ShapeError as decode().
Tensor decode_tiles(const AutoencoderKL& model, const Tensor& latents, const Tiling& tiling = {});

}  // namespace fm
