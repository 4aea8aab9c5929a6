// Initial values of parameters, as a pure function of (seed, name of the parameter, index of the element). The values do not depend on other
// parameters, on the order in which parameters are made, or on the number of threads.
//
// A module with parameters of its own defines `void reset(const Init& init)`, which fills them, under the names of its visit list. A parent's
// reset runs after those of its children, so it may overwrite their values ("all adaLN layers start at zero").
#pragma once

#include <cstdint>
#include <string>

#include "nn/module.h"

namespace fm {

class Init {
 public:
  Init(std::uint64_t seed, std::string prefix) : seed_(seed), prefix_(std::move(prefix)) {}

  void uniform(const std::string& name, Parameter& p, double bound) const;     // U[-bound, bound)
  void normal(const std::string& name, Parameter& p, double deviation) const;  // N(0, deviation^2)

  // PyTorch's default for Linear and Conv, kaiming_uniform(a = sqrt 5): the parameters "weight" and "bias" from U(-b, b) with b = 1/sqrt(fan_in).
  // The fan-in is the number of elements in one row (one output) of the weight.
  void kaiming(Parameter& weight, Parameter& bias) const;
  // U(-b, b), b = sqrt(6 / (fan_in + fan_out)), on the weight as an (out, everything else) matrix.
  void xavier(const std::string& name, Parameter& weight) const;

 private:
  std::uint64_t seed_;
  std::string prefix_;
};

inline void fill(Parameter& p, double value) {
  if (p.value.defined()) p.value.fill(value);
}

namespace detail {
struct Resetter {
  std::uint64_t seed;
  void operator()(const std::string&, Parameter&) const {}
  void operator()(const std::string&, Buffer&) const {}
  template <class Part> void leave(const std::string& name, Part& part) const {
    const Init init(seed, name.empty() ? "" : name + ".");
    if constexpr (requires { part.reset(init); }) part.reset(init);
  }
};
}  // namespace detail

// Fills all parameters of the module. No effect while a ShapesOnly exists (nn/module.h).
template <class M> void reset_parameters(M& module, std::uint64_t seed) {
  if (ShapesOnly::active()) return;
  const detail::Resetter resetter{seed};
  module.visit(detail::Walker(resetter, ""));
  resetter.leave("", module);
}

}  // namespace fm
