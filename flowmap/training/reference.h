// The real samples that scores compare with, and their features.
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

// Number of samples whose features are computed at a time, 1 to 250. Larger samples get a smaller number, so that memory stays bounded. The size of an image
// is its number of positions, without channels.
std::int64_t seen_at_a_time(const Shape& sample);

// Reads these rows of a source on all threads. Returns f32 (n, shape), images in [0, 1]. FileError gives the number of unreadable samples and the first
// problem.
Tensor read_rows(const SampleSource& source, const std::vector<std::int64_t>& rows);

struct Reference {
  std::vector<std::int64_t> rows, labels, classes;  // rows of the split; classes: predicted by the features, or empty
  Tensor features;
  GaussianFit fit;
  Tensor spatial;           // (n, 2023) of FID's Inception; undefined for other features
  GaussianFit spatial_fit;  // of `spatial`, if that is defined
  std::string id;  // fingerprint: crc32c of the samples as features see them, labels, class names, and the features' fingerprint
  double accuracy = 0;  // share of `classes` that equal `labels`; NaN without classes
};

// Reads the samples (for the fingerprint) and takes their features from the file in `cache` with this fingerprint and a valid checksum;
// otherwise computes them and writes that file. FileError if samples cannot be read. An interrupt ends the computation with the exception of
// check_interrupt (tensor/interrupt.h).
Reference load_reference(const SampleSource& source, std::int64_t count, const Features& features, const std::filesystem::path& cache, Messages& log);

}  // namespace fm
