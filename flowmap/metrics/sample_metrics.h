// The metrics of generated samples: named functions of real and generated features. Tables, files and reports of scores follow this list, so a
// new metric needs only its function and one entry in sample_metrics.cpp. `is_for` limits a metric to some kinds of samples.
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
  Shape sample = {};           // shape of a sample, if its features are its values, in order; rank 0: other features
  // Further outputs of FID's Inception; undefined or null for other features.
  const GaussianFit* real_spatial_fit = nullptr;
  Tensor spatial = {}, logits = {};  // of the generated samples: (m, 2023), (m, 1008)
};

// One number of a metric.
struct MetricValue {
  const char* name;            // column name in files
  const char* title;           // heading in tables
  const char* help;
  int decimals = 3;            // digits after the point in tables
  bool higher_is_better = false;
};

struct SampleMetric {
  std::vector<MetricValue> values;
  std::vector<double> (*measure)(const FeatureSets&);    // returns one number for each of `values`; NaN: undefined for these samples
  bool (*is_for)(const FeatureSets&) = nullptr;          // whether it applies to these samples; null: to all
};

const std::vector<SampleMetric>& sample_metrics();

// Computes all metrics that apply to these samples. The keys are the metrics' names in files.
std::map<std::string, double> measured_metrics(const FeatureSets& sets);

}  // namespace fm
