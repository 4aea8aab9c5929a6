// The real images that scores compare with: which ones, and their features.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/support/logger.h"
#include "data/source.h"
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

// `count` rows of a split, ascending: the same number of each class, or all of a class that has fewer; what does not divide goes to classes
// drawn with a fixed key, and so do the rows of a class. A larger count keeps the rows of a smaller one, but for that remainder. 0, or as
// many as there are: all.
std::vector<std::int64_t> balanced_rows(const SampleSource& source, std::int64_t count);

// `count` of these rows, ascending, drawn with a fixed key, so with about the shares of the classes that they have; or all of them.
std::vector<std::int64_t> drawn_rows(const std::vector<std::int64_t>& rows, std::int64_t count);

// Labels of `count` samples: 0, 1, ..., classes - 1 by turns; the last turn, if it is not whole, is drawn by the seed.
std::vector<std::int64_t> balanced_labels(std::int64_t count, std::int64_t classes, std::uint64_t seed);

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
