// A data set seen through the encoder: its images, and their latents computed once and kept in memory.
#pragma once

#include "data/dataset.h"
#include "data/permutation.h"
#include "nn/models/rae.h"

namespace fm {

// Rows of a data set as f32 images (n, C, H, W) in [0, 1], and as labels i64 (n).
Tensor image_rows(const Dataset& data, const std::vector<std::int64_t>& rows);
Tensor label_rows(const Dataset& data, const std::vector<std::int64_t>& rows);

struct LatentSet {
  Tensor latents;              // (n, C, h, w) raw f32
  Tensor labels;               // i64 (n)
};

// Encodes every image of `data`; `progress(done)` is called now and then.
LatentSet encode_dataset(const Rae& rae, const Dataset& data, const std::function<void(std::int64_t)>& progress);

// Mean and variance (population) of each element over the set, in double.
LatentStats latent_statistics(const Tensor& latents);

}  // namespace fm
