// Published files in the form of our models: the requested part, under our names, and the sizes from its tensors.
#pragma once

#include "nn/checkpoint.h"
#include "nn/latent_stats.h"
#include "nn/models/dit_dh.h"
#include "nn/models/published_names.h"
#include "nn/models/rae_decoder.h"

namespace fm {

// The part (of weights_part) of a file that load_weights reads, under our names. Tensors that RAE does not use are left out: the
// weight and bias of an encoder's last norm (affine_norm: they stay). FileError names the file.
Weights load_part(const std::string& where, const std::string& part, const Warn& warn, bool affine_norm = false);

// FileError unless the tensors, under our names, are those of a flow map u(z, s, t), or of a velocity network v(z, t). `role` is their use, for the error.
void check_kind(const Weights& dit, bool flow_map, const std::string& role);

// FileError, with the file's name, unless variances are positive and all is finite.
void check_stats(const LatentStats& stats, const std::string& file);

// stat.pt of RAE, or a file with the same tensors: var (C,h,w), and mean, which the published file for DINOv2-B does not have. FileError
// when var is missing, the shapes differ, a number is not finite or a variance is not positive.
LatentStats load_stats(const std::string& where, const Warn& warn);

// Configs from the tensors of a part. FileError names a tensor that is missing or does not fit. A decoder's file lacks its number of
// heads: it is that of the published widths, else heads are 64 wide.
DitDhConfig dit_dh_config_of(const Weights& weights);
RaeDecoderConfig rae_decoder_config_of(const Weights& weights);

}  // namespace fm
