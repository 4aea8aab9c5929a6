// Every model of the paper and its baselines by a name, for `inspect --flops`.
//
//   dinov2-b-224              encoders; the number is the side of the network's input image (RAE resizes 256 to 224, 512 to
//   448) rae-decoder-xl-512        decoders of RAE; the image's side dit-dh-xl-256[-mf]        DiT^DH, the teacher and the MeanFlow variant
//   with its second time dit-xl-2-256 sit-xl-2-256 sd-vae-decoder-256                          the baselines mf-rae-256-2-step
//   mf-sd-vae-256-1-step                                one image: this many calls of the generator and one of the decoder
#pragma once

#include "nn/flops/count.h"

namespace fm {

struct KnownModel {
  std::string name, source;  // source: the origin of the shapes
  CostTable modules;
  std::int64_t paper_gflops = 0;  // as the MF-RAE paper prints it; 0: not in the paper
};

std::vector<KnownModel> known_models();

// ConfigError with the nearest name for one that is not known.
KnownModel known_model(const std::string& name);

}  // namespace fm
