// Properties that follow from the config of an encoder or a decoder alone: its size in words, and its parameters and products (count.h).
#pragma once

#include "nn/flops/count.h"
#include "nn/models/rae_decoder.h"
#include "nn/models/vit_encoder.h"

namespace fm {

// "ViT 64x6, patch 7": width x depth.
std::string size_text(const VitEncoderConfig& config);
std::string size_text(const RaeDecoderConfig& config);

// The cost of one sample. ConfigError when the config breaks a rule or the image does not divide into patches.
CostTable cost_table(const VitEncoderConfig& config, std::int64_t image_size);  // of image_size x image_size pixels
CostTable cost_table(const RaeDecoderConfig& config);

}  // namespace fm
