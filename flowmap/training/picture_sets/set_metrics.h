// The metrics of a set of images against a reference, in the features of a published network: what `evaluate pictures` measures. Each is one entry of the list
// in set_metrics.cpp: a name, the inputs that it needs, and a function.
//
//   fid            Frechet distance (frechet.h). Standard error by random halves, if a half has as many samples as there are features
//   sfid           the same of Inception's spatial features
//   is, is_adm     Inception Score of the samples: 10 splits after a permutation (torch-fidelity), splits of 5000 in the order of the files (guided-diffusion)
//   kid            kernel distance over 100 random subsets of 1000 (torch-fidelity); kid_all: over all pairs, without subsets
//   precision_recall       columns precision and recall: closed balls of the 3rd neighbor (guided-diffusion, torch-fidelity); in other features than
//                          Inception's open balls of the 5th one (dgm-eval)
//   density_coverage       columns density and coverage: balls of the 5th neighbor (prdc)
//   fid_infinity   the Frechet distance extrapolated to infinitely many samples, if the smallest subset has more samples than there are features
//
// In other features than those of FID's Inception each number carries the network's name: fd_dinov2_vitl14, kid_dinov2_vitl14.
#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "flowmap/metrics/frechet_reference.h"
#include "flowmap/metrics/statistics_file.h"
#include "flowmap/training/picture_sets/seen_set.h"

namespace fm {

// What samples are compared with: images, statistics from a file, or both. If a file has statistics, Frechet distances use them and not its images, as
// guided-diffusion does.
struct SetReference {
  std::string name, id;                  // id: fingerprint
  std::optional<SeenSet> images;
  FeatureStatistics statistics;          // from a file; without `features`, fits of the images are used
};

struct SetSettings {
  std::uint32_t seed = 2020;             // of random halves, subsets and permutations: torch-fidelity's default
  int halves = 20;                       // random halves for the standard error of Frechet distances; 0: none
  std::function<void(const std::string& metric)> begins = {};   // called before each metric
};

inline constexpr std::int64_t no_reference = -1;

struct SetNumber {
  std::string name;
  double value = 0;
  double error = std::numeric_limits<double>::quiet_NaN();   // standard error, or deviation over splits or subsets, as `settings` says; NaN: none
  std::string settings;                  // what decides the number besides images and features: "k 3, closed balls"
  std::int64_t reference_count = 0;      // number of images of the reference that the number compares with; 0: unknown; no_reference: it compares with none
};

struct SetResults {
  std::vector<SetNumber> numbers;
  std::optional<FrechetLimit> limit;     // the fit behind fid_infinity
};

// The name of a metric's number in the features of this network: fid, or fd_dinov2_vitl14.
std::string name_of_metric(const std::string& network, const std::string& metric);

// The names for --metrics, in order.
std::vector<std::string> set_metric_names();
void check_set_metrics(const std::vector<std::string>& names);   // ConfigError for an unknown name
// ConfigError for a metric of these names whose input is missing as far as names and numbers of images show: before hours of work. The sets need no features.
void refuse_too_few(const std::vector<std::string>& names, const SeenSet& samples, const SetReference& reference);
// The metrics that these inputs allow, without fid_infinity, whose cost is that of 15 Frechet distances.
std::vector<std::string> usual_set_metrics(const SeenSet& samples, const SetReference& reference);

// What these metrics read of the reference's images beside the statistics of a file. No names: all metrics.
struct ReferenceInputs {
  bool images = false, spatial = false;
};
ReferenceInputs reference_inputs(const std::vector<std::string>& metrics, const FeatureStatistics& stored);

// The reason of each metric that cannot be measured, for sets that allow none.
std::string why_no_set_metric(const SeenSet& samples, const SetReference& reference);

// Measures the metrics with these names. ConfigError for an unknown name, or one whose input is missing: the message says which. An interrupt ends the work
// with the exception of check_interrupt (tensor/interrupt.h).
SetResults measured_set(const std::string& network, const SeenSet& samples, const SetReference& reference, const std::vector<std::string>& metrics, const SetSettings& settings);

// Mean and covariance of all features of a set, to be written with write_statistics. They name network, preparation, images and weights.
FeatureStatistics statistics_of(const SeenSet& set, const Features& features);
// The fingerprint of the features that statistics_of made them with; empty for statistics of other programs.
std::string weights_of_statistics(const FeatureStatistics& statistics);
// FileError if statistics_of made them with other weights. Statistics of other programs name no weights, and are accepted.
void refuse_other_weights(const FeatureStatistics& statistics, const Features& features, const std::string& file);

}  // namespace fm
