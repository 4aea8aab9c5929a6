// Loads published files for our models: one part of a file, under our names, and the config that follows from the shapes of its tensors.
#pragma once

#include <filesystem>
#include <optional>

#include "nn/checkpoint.h"
#include "nn/latent_stats.h"
#include "nn/models/autoencoder_kl.h"
#include "nn/models/dit_dh.h"
#include "nn/models/published_names.h"
#include "nn/models/rae_decoder.h"

namespace fm {

// Loads a part (one of weights_part) of a file that load_weights can read, under our names. Without affine_norm the weight and bias of an encoder's
// last norm are left out, because RAE does not use them. FileError names the file.
Weights load_part(const std::string& where, const std::string& part, const Warn& warn, bool affine_norm = false);

// Returns the tensor of this name, or null if the file has none. FileError if the file has it but it could not be read: otherwise an optional tensor
// would silently be left out.
const Tensor* find_tensor(const Weights& weights, const std::string& name);

// The same, and a tensor that must exist and have this rank, for callers that add the file's name to FileErrors themselves.
const Tensor* tensor_in(const Weights& weights, const std::string& name);
const Tensor& needed_tensor_in(const Weights& weights, const std::string& name, int rank);

// The side of a square of this many positions or pixels, which are those of the tensor `name`. FileError without the file's name if they form none.
std::int64_t side_of_square(const std::string& name, std::int64_t count);

// The number of attention heads, which files do not contain: 16 for the published widths 1024 and 1152, else heads of width 64, or one head.
std::int64_t usual_heads(std::int64_t width);

// FileError unless the weights, under our names, belong to a flow map u(z, s, t) (flow_map = true) or to a velocity v(z, t) (false). The error calls
// the weights by their `role`, such as "the teacher".
void check_kind(const Weights& dit, bool flow_map, const std::string& role);

// FileError, with the file's name, unless all variances are positive and all numbers finite.
void check_stats(const LatentStats& stats, const std::string& file);

// Loads RAE's stat.pt, or a file with the same tensors: var (C,h,w) and optionally mean (the published file for DINOv2-B has none). FileError
// if var is missing, the shapes differ, a number is not finite or a variance is not positive.
LatentStats load_stats(const std::string& where, const Warn& warn);

// Configs that follow from the tensors of a part. FileError names a tensor that is missing or does not fit. A decoder's file does not contain its
// number of heads: it is 16 for the published widths 1024 and 1152, else the number of heads of width 64.
DitDhConfig dit_dh_config_of(const Weights& weights);
RaeDecoderConfig rae_decoder_config_of(const Weights& weights);
// The file of an autoencoder contains neither the number of groups, which is 32 in all published ones, nor the scale of latents.
AutoencoderKLConfig autoencoder_kl_config_of(const Weights& weights, std::int64_t groups = 32);

// The scaling_factor in the config.json of diffusers beside an autoencoder's file. No value if there is no such config.json, or it has no such entry.
// FileError for one with a shift_factor, which latents here do not have.
std::optional<double> scaling_factor_beside(const std::filesystem::path& file);

}  // namespace fm
