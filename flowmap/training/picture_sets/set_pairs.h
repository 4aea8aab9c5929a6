// Metrics of pairs of images, such as reconstructions and their originals: PSNR and SSIM (flowmap/metrics/image_similarity.h), and LPIPS.
#pragma once

#include <functional>
#include <vector>

#include "data/picture_set.h"
#include "flowmap/metrics/image_similarity.h"
#include "flowmap/training/picture_sets/set_metrics.h"

namespace fm {

struct PairOptions {
  std::int64_t limit = 0;                // number of pairs, the first ones; 0: all
  SsimBorder border = SsimBorder::full;  // cropped: as torchmetrics before September 2024
  std::function<std::vector<double>(const Tensor& x, const Tensor& y)> lpips = {};   // of (n, 3, H, W) f32 in [-1, 1], one distance a pair; empty: not measured
  std::function<void(std::int64_t done)> progress = {};
};

struct PairResults {
  std::vector<SetNumber> numbers;
  std::string samples_id, reference_id;  // fingerprints of the compared images, as SeenSet::id
};

// Compares image i of one set with image i of the other. Each number is the mean over pairs; its error is the standard error of that mean. Images are RGB; grey
// is repeated, which changes neither PSNR nor SSIM. ConfigError: other numbers of images, or names that differ (without endings), if both sets have names.
// FileError: an image cannot be read, or a pair has two sizes. Error: a number that is not finite.
PairResults measured_pairs(const PictureSet& samples, const PictureSet& reference, const PairOptions& options);

}  // namespace fm
