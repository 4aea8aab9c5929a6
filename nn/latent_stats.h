// Mean and variance of each element of a latent over a data set, and the scaling of latents to mean 0 and variance 1 and back.
//
//   normalise(z) = (z - mean) / sqrt(variance + floor)          restore(z) = z sqrt(variance + floor) + mean
//
// A latent space (flowmap/training/latent_space.h) applies both functions for its callers.
#pragma once

#include <string>

#include "tensor/tensor.h"

namespace fm {

struct LatentStats {
  Tensor mean, variance;                           // of a latent's shape; an undefined mean is 0 (the published file for DINOv2-B has none)
  double floor = 1e-5;                             // epsilon that is added to the variance; RAE's value
  bool defined() const { return variance.defined(); }
  Tensor normalise(const Tensor& z) const;         // (B, shape of a latent); Error without statistics
  Tensor restore(const Tensor& z) const;           // likewise
};

std::string checksum(const LatentStats& stats);    // checksum of mean and variance; "" without statistics

}  // namespace fm
