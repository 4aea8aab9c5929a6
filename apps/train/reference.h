// The real images that scores compare with: which ones, and their features.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/support/logger.h"
#include "data/rows.h"
#include "flowmap/metrics/frechet.h"
#include "nn/models/judge.h"

namespace fm {

// What the judge makes of images.
struct Judged {
  Tensor features;                    // (n, D) f32, on the CPU
  std::vector<std::int64_t> classes;  // (n) the most likely one
};
// images (n, C, H, W) in [0, 1]
Judged judge_images(const Judge& judge, const Tensor& images);

// Images judged at a time: by their size, so that memory does not grow with it; 1 to 250.
std::int64_t judged_at_a_time(std::int64_t pixels);

// Images of these rows of a source, f32 (n, C, H, W) in [0, 1], read on all threads. FileError names those that cannot be read.
Tensor read_rows(const SampleSource& source, const std::vector<std::int64_t>& rows);

struct Reference {
  std::vector<std::int64_t> rows, labels, classes;  // of the split; classes: the judge's answers
  Tensor features;
  GaussianFit fit;
  std::string id;  // fingerprint: crc32c of the images as the judge sees them, labels, class names, and the judge's weights
  std::int64_t images_of_split = 0;
  double accuracy = 0;  // of the judge
};

// Reads the images (for the fingerprint) and takes their features from the file in `cache` that has this fingerprint and a checksum that is
// right; otherwise computes them and writes that file. `judge_id` is the checksum of the judge's weights. FileError; StopRequested.
Reference load_reference(const SampleSource& source, std::int64_t count, const Judge& judge, const std::string& judge_id,
                         const std::filesystem::path& cache, Logger& log);

}  // namespace fm
