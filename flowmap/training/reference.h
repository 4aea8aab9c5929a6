// The real samples that scores compare with: which ones, and their features.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/rows.h"
#include "flowmap/metrics/frechet.h"
#include "flowmap/training/features.h"
#include "nn/training/messages.h"

namespace fm {

// Number of samples whose features are computed at a time, from the size of one (of an image its positions, not its channels), so that memory does not grow with it; 1 to 250.
std::int64_t seen_at_a_time(const Shape& sample);

// Samples of these rows of a source, f32 (n, shape), images in [0, 1], read on all threads. FileError names the unreadable ones.
Tensor read_rows(const SampleSource& source, const std::vector<std::int64_t>& rows);

struct Reference {
  std::vector<std::int64_t> rows, labels, classes;  // rows of the split; classes: predicted by the features, or empty
  Tensor features;
  GaussianFit fit;
  std::string id;  // fingerprint: crc32c of the samples as features see them, labels, class names, and the features' fingerprint
  double accuracy = 0;  // of the classes; NaN without some
};

// Reads the samples (for the fingerprint) and takes their features from the file in `cache` with this fingerprint and a valid checksum;
// otherwise computes them and writes that file. FileError; the exception of check_interrupt (tensor/interrupt.h).
Reference load_reference(const SampleSource& source, std::int64_t count, const Features& features, const std::filesystem::path& cache, Messages& log);

}  // namespace fm
