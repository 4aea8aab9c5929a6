#include "nn/latent_stats.h"

#include "nn/loaded.h"
#include "tensor/error.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

void check_defined(const LatentStats& stats, const char* what) {
  if (!stats.defined()) throw Error(std::string(what) + ": there are no statistics of latents; load or compute them first");
}

}  // namespace

Tensor LatentStats::normalise(const Tensor& z) const {
  check_defined(*this, "LatentStats::normalise");
  const Tensor centred = mean.defined() ? z - mean : z;
  return centred * rsqrt(variance + floor);
}

Tensor LatentStats::restore(const Tensor& z) const {
  check_defined(*this, "LatentStats::restore");
  const Tensor scaled = z * sqrt(variance + floor);
  return mean.defined() ? scaled + mean : scaled;
}

std::string checksum(const LatentStats& stats) {
  if (!stats.defined()) return {};
  NamedTensors tensors{{"var", stats.variance}};
  if (stats.mean.defined()) tensors.emplace_back("mean", stats.mean);
  return checksum(tensors);
}

}  // namespace fm
