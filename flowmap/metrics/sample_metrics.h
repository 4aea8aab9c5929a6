// The metrics of generated samples: named functions of real and generated features. Tables, files and reports of scores follow this list, so a
// new metric is its function and one entry of sample_metrics.cpp.
#pragma once

#include <vector>

#include "flowmap/metrics/frechet.h"

namespace fm {

struct FeatureSets {
  const Tensor& real;          // (n, D) f32
  const GaussianFit& real_fit;
  const Tensor& generated;     // (m, D) f32
  int neighbours = 3;
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
  std::vector<double> (*measure)(const FeatureSets&);    // as many numbers as `values`, in that order
};

const std::vector<SampleMetric>& sample_metrics();

}  // namespace fm
