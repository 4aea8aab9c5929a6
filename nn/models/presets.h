// Configs of the published models, by name: dit_dh("XL", 512), dit("XL/2"), rae_decoder("XL", 512), dinov2("B"), rae("siglip2-B").
//
//   size      DINOv2 encoder        ViT decoder            DiT^DH backbone        (width, layers, heads; MLP hidden width)
//   S         384, 12, 6; 1536      -                      384, 12, 6
//   B         768, 12, 12; 3072     768, 12, 12; 3072      768, 12, 12
//   L         1024, 24, 16; 4096    1024, 24, 16; 4096     1024, 24, 16
//   XL        -                     1152, 28, 16; 4096     1152, 28, 16
//
// SigLIP 2 and the masked autoencoder exist only in size B, with patches of 16 pixels: google/siglip2-base-patch16-256, facebook/vit-mae-base.
// rae() combines an encoder, its preprocessing and a decoder as RAE does. Patches have 14 pixels per side for DINOv2, 16 for the other encoders.
// The means and deviations of images are those of the encoder's image processor.
//
// At every size the head of DiT^DH has two blocks of width 2048 with 16 heads. No checkpoints of DiT^DH-B and L are published: the size B is from a
// comment in the released code, L follows DiT-L. Facts: mfrae.md 1.1, 1.3, 1.4, 2, 4.1.
//
// DiT, SiT and MeanFlow on latents of the SD-VAE have the widths, depths and heads of DiT^DH's backbone, and a name that ends with the patch: S/2, B/4,
// XL/8. Size M (width 1024, 16 layers, 16 heads) is from the code of MeanFlow. A position of the latent covers 8 x 8 pixels. Facts: sdvae-sit.md 2.1.
//
// Sizes are the names above; image sizes are in pixels, multiples of 16 (published: 256 and 512). ConfigError otherwise.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nn/models/dit.h"
#include "nn/models/dit_dh.h"
#include "nn/models/rae.h"

namespace fm {

// Mean and deviation of ImageNet's images by channel, in [0, 1], by which DINO, DINOv2 and the masked autoencoder normalize.
inline constexpr double imagenet_mean[] = {0.485, 0.456, 0.406}, imagenet_std[] = {0.229, 0.224, 0.225};

// Side of RAE's latent: a token covers 16 x 16 pixels of the image.
std::int64_t rae_latent_size(std::int64_t image_size);
std::int64_t dinov2_input_size(std::int64_t image_size);  // side of DINOv2's input, 14 pixels per token: 224 for 256, 448 for 512

VitEncoderConfig dinov2(std::string_view size);
VitEncoderConfig siglip2(std::string_view size = "B");
VitEncoderConfig vit_mae(std::string_view size = "B");
RaeDecoderConfig rae_decoder(std::string_view size, std::int64_t image_size = 256);
DitDhConfig dit_dh(std::string_view size, std::int64_t image_size = 256, bool mean_flow = false);
DitConfig dit(std::string_view size, std::int64_t image_size = 256, bool mean_flow = false);      // "XL/2"; image sizes are multiples of 8 patches
std::vector<std::string> dit_sizes();                                                           // the names of all sizes: S/2, S/4, S/8, B/2, ...

// encoder: "dinov2-S", "dinov2-B", "dinov2-L", "siglip2-B" or "mae-B"; decoder: a size of rae_decoder.
RaeConfig rae(std::string_view encoder = "dinov2-B", std::string_view decoder = "XL", std::int64_t image_size = 256);

}  // namespace fm
