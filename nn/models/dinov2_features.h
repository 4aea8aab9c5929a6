// The network of FD-DINOv2 (Stein et al. 2023, arXiv:2306.04675): DINOv2 without registers as Meta's code runs it. The feature of an image is the class
// token after the last norm with its weight and bias, and is not normalized. Facts: evaluation.md 3.
//
// Images have side 224, so the grid of positions, 37x37 in the file, becomes 16x16. Meta's code resizes it in f32 with the scale (16 + 0.1)/37, not 16/37:
// bicubic with A = -0.75, no antialiasing, output i at input position (i + 1/2) 37/16.1 - 1/2. The grid is resized once, when the weights are loaded. (RAE's
// encoder, nn/models/vit_encoder.h with registers, resizes it otherwise.)
//
// REPA and REG run the same network, but resize the positions with timm: antialiased bicubic (A = -0.5), to exactly 16x16. The class tokens of REG's
// training are those of this network (flowmap/training/class_tokens.h).
#pragma once

#include <string>

#include "nn/checkpoint.h"
#include "nn/models/vit_encoder.h"

namespace fm {

struct Dinov2Features {
  std::string name;                              // dinov2_vits14, dinov2_vitb14 or dinov2_vitl14; FD-DINOv2 is reported with the last
  VitEncoder encoder;                            // with positions for images of side 224

  // Images (N,3,224,224), resized and normalized by the caller, in the type of the weights -> (N,D). ShapeError for other sizes.
  Tensor operator()(const Tensor& images) const;
};

enum class Dinov2Positions { meta, timm };

// Resizes the positions of a file, (1,1+G G,D), to those of `side` x `side` patches, (1,1+side side,D). The position of the class token is kept.
// ShapeError unless the table has this form.
Tensor dinov2_positions(const Tensor& table, std::int64_t side, Dinov2Positions how = Dinov2Positions::meta);

// Makes the network from a file under Meta's or Hugging Face's names: dinov2_vitl14_pretrain.pth, or another size. FileError for models with registers, for
// tensors that are missing, unexpected or of another shape, and for other sizes.
Dinov2Features load_dinov2_features(const std::string& where, const Warn& warn, Dinov2Positions positions = Dinov2Positions::meta);

}  // namespace fm
