// The models of the MF-RAE paper and its baselines, by name, for `inspect --flops`.
//
//   dinov2-b-224              encoders; the number is the side of the network's input (RAE resizes images of 256 pixels to 224, 512 to 448)
//   rae-decoder-xl-512        decoders of RAE; the number is the side of the image
//   dit-dh-xl-256[-mf]        DiT^DH: the teacher, and with -mf the MeanFlow variant with two times
//   dit-xl-2-256 sit-b-4-512 sit-xl-2-256-mf
//                             DiT and SiT on latents of the SD-VAE, the first number the patch; with -mf the MeanFlow variant with two times
//   sd-vae-encoder-256 sd-vae-decoder-256
//                             the two halves of the SD-VAE
//   mf-rae-256-2-step mf-sd-vae-256-1-step
//                             one image: the given number of calls of the generator, and one call of the decoder
#pragma once

#include "nn/flops/count.h"

namespace fm {

struct KnownModel {
  std::string name, source;  // source: where the shapes are from
  CostTable modules;
  std::int64_t paper_gflops = 0;  // as the MF-RAE paper prints it; 0: not in the paper
};

std::vector<KnownModel> known_models();

// Returns the model of this name. ConfigError suggests the nearest name.
KnownModel known_model(const std::string& name);

}  // namespace fm
