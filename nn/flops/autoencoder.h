// Properties that follow from the config of an encoder or a decoder alone: its size in words, and its numbers of parameters and multiply-adds (count.h).
#pragma once

#include "nn/flops/count.h"
#include "nn/models/autoencoder_kl.h"
#include "nn/models/rae_decoder.h"
#include "nn/models/vit_encoder.h"

namespace fm {

// "ViT 64x6, patch 7": width x depth.
std::string size_text(const VitEncoderConfig& config);
std::string size_text(const RaeDecoderConfig& config);
std::string size_text(const AutoencoderKLConfig& config);      // "KL autoencoder 128-256-512-512, 4 channels, factor 8"

// The cost of one sample. ConfigError if the config breaks a rule, or if patch_size does not divide image_size.
CostTable cost_table(const VitEncoderConfig& config, std::int64_t image_size);  // for an image of image_size x image_size pixels
CostTable cost_table(const RaeDecoderConfig& config);

// The two halves of an AutoencoderKL, for an image of image_size x image_size pixels. ConfigError if `factor` does not divide image_size.
CostTable encoder_costs(const AutoencoderKLConfig& config, std::int64_t image_size);
CostTable decoder_costs(const AutoencoderKLConfig& config, std::int64_t image_size);

}  // namespace fm
