// The input of sample metrics: a function from samples to vectors. The distances of flowmap/metrics/ are between sets of these vectors, so a
// new feature network is one more value of this type. Those of published metrics are in published_features.h.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace fm {

// The features of some samples.
struct Seen {
  Tensor vectors;                        // (n, D) f32, on the CPU
  std::vector<std::int64_t> classes;     // (n) the most likely class of each sample; empty: these features have no classes
  // Further outputs of FID's Inception, f32, on the CPU; undefined for other features.
  Tensor spatial;                        // (n, 2023) for sFID
  Tensor logits;                         // (n, 1008) for the Inception Score: without the bias of the last layer
};

// Features of a set that are computed some samples at a time.
class SeenParts {
 public:
  void add(const Seen& part);
  bool empty() const { return vectors_.empty(); }
  Seen joined() const;                   // of all parts, in the order they were added; at least one part is needed

 private:
  std::vector<Tensor> vectors_, spatial_, logits_;
  std::vector<std::int64_t> classes_;
};

struct Features {
  std::string name;                      // "judge", "values", "inception", "dinov2_vitl14"
  std::string fingerprint;               // stored with scores and cached features: checksum of the weights and, for published networks, kind and preparation
  std::function<Seen(const Tensor& samples)> see;    // (n, shape of a sample) f32; images in [0, 1]. A sample's vector does not depend on the other samples
  bool are_values = false;               // a vector is the sample's own values, in their order
  std::string preparation = {};          // how images are resized for a published network, part of the convention of its numbers; empty for other features

  std::string text() const { return preparation.empty() ? name : name + " " + preparation; }      // for example "inception tf1"
};

// Samples as vectors of their values.
Features plain_features();

}  // namespace fm
