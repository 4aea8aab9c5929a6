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

// Samples seen at a time: by the size of one (of a picture its places, not its channels), so that memory does not grow with it; 1 to 250.
std::int64_t seen_at_a_time(const Shape& sample);

// Samples of these rows of a source, f32 (n, shape), pictures in [0, 1], read on all threads. FileError names those that cannot be read.
Tensor read_rows(const SampleSource& source, const std::vector<std::int64_t>& rows);

struct Reference {
  std::vector<std::int64_t> rows, labels, classes;  // of the split; classes: what the features take them for, or none
  Tensor features;
  GaussianFit fit;
  std::string id;  // fingerprint: crc32c of the samples as features see them, labels, class names, and the features' fingerprint
  double accuracy = 0;  // of the classes; NaN without some
};

// Reads the samples (for the fingerprint) and takes their features from the file in `cache` that has this fingerprint and a checksum that is
// right; otherwise computes them and writes that file. FileError; what check_interrupt (tensor/interrupt.h) throws.
Reference load_reference(const SampleSource& source, std::int64_t count, const Features& features, const std::filesystem::path& cache, Messages& log);

}  // namespace fm
