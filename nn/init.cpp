#include "nn/init.h"

#include <cmath>

#include "tensor/ops/elementwise.h"
#include "tensor/random/fill.h"
#include "tensor/random/name_hash.h"

namespace fm {
namespace {

double fan_in(const Parameter& weight) { return static_cast<double>(weight.value.numel() / weight.value.dim(0)); }

}  // namespace

// The random counter has four words. The index of the element uses two, and the halves of the name's hash the others.
void Init::uniform(const std::string& name, Parameter& p, double bound) const {
  if (!p.value.defined()) return;
  const std::uint64_t h = name_hash(prefix_ + name);
  const RandomKey key{seed_, static_cast<std::uint32_t>(h)};
  p.value.copy_from(affine(random_uniform(p.value.shape(), key, static_cast<std::uint32_t>(h >> 32)), 2 * bound, -bound));
}

void Init::normal(const std::string& name, Parameter& p, double deviation) const {
  if (!p.value.defined()) return;
  const std::uint64_t h = name_hash(prefix_ + name);
  const RandomKey key{seed_, static_cast<std::uint32_t>(h)};
  p.value.copy_from(affine(random_normal(p.value.shape(), key, static_cast<std::uint32_t>(h >> 32)), deviation, 0));
}

void Init::kaiming(Parameter& weight, Parameter& bias) const {
  const double bound = 1 / std::sqrt(fan_in(weight));
  uniform("weight", weight, bound);
  uniform("bias", bias, bound);
}

void Init::xavier(const std::string& name, Parameter& weight) const {
  uniform(name, weight, std::sqrt(6 / (fan_in(weight) + static_cast<double>(weight.value.dim(0)))));
}

}  // namespace fm
