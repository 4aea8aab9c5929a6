// The metrics of generated samples: named functions of real and generated features. Tables, files and reports of scores follow this list, so a
// new metric is its function and one entry of sample_metrics.cpp. A metric of the samples themselves declares that by `is_for`.
#pragma once

#include <vector>

#include <map>
#include <string>

#include "flowmap/metrics/frechet.h"

namespace fm {

struct FeatureSets {
  const Tensor& real;          // (n, D) f32
  const GaussianFit& real_fit;
  const Tensor& generated;     // (m, D) f32
  int neighbours = 3;
  Shape sample = {};           // of one sample, where a feature vector is its values, in order; rank 0: features of another kind
};

// One number of a metric.
struct MetricValue {
  const char* name;            // in files
  const char* title;           // in tables
  const char* help;
  int decimals = 3;            // shown
};

struct SampleMetric {
  std::vector<MetricValue> values;
  std::vector<double> (*measure)(const FeatureSets&);    // as many numbers as `values`, in that order; NaN: undefined for these samples
  bool (*is_for)(const FeatureSets&) = nullptr;          // whether it applies to these samples; null: to all
};

const std::vector<SampleMetric>& sample_metrics();

// The numbers of all metrics that are for these samples, by their names in files.
std::map<std::string, double> measured_metrics(const FeatureSets& sets);

}  // namespace fm
