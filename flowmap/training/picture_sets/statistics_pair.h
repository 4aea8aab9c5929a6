// Frechet distances of samples of which only the mean and covariance of their features are known: two files of statistics, as pytorch-fid compares them, or a
// file with images.
#pragma once

#include <string>
#include <vector>

#include "flowmap/training/picture_sets/set_metrics.h"

namespace fm {

// FileError if the two files name different networks, preparations or weights. A name that one of them lacks is accepted.
void refuse_unlike_statistics(const FeatureStatistics& a, const std::string& a_file, const FeatureStatistics& b, const std::string& b_file);

// The features that the statistics were made with, as their file names them: "inception tf1 1a2b3c4d", or the network and preparation alone; may be empty.
std::string features_of_statistics(const FeatureStatistics& statistics);

// fid, and sfid if both have spatial statistics; of these the ones in `metrics`, or all if it is empty. `samples` must have features; `reference` has statistics or
// images. ConfigError for a metric that needs the samples' images or spatial statistics, with the name of `file`.
std::vector<SetNumber> distances_of_statistics(const std::string& network, const FeatureStatistics& samples, const std::string& file, const SetReference& reference,
                                               const std::vector<std::string>& metrics);

}  // namespace fm
