// Moving averages of networks outside the optimizer: DINO's teacher, and the network that makes Shortcut's targets.
#pragma once

#include "nn/module.h"
#include "tensor/ops/elementwise.h"

namespace fm {

// follower <- decay follower + (1 - decay) leader, in place, for each parameter. Both must have the same architecture. Buffers (tables)
// stay unchanged.
template <class M> void follow(M& follower, const M& leader, double decay) {
  std::vector<const Tensor*> from;
  for_each_parameter(leader, [&](const std::string&, const Parameter& p) { from.push_back(&p.value); });
  std::size_t i = 0;
  for_each_parameter(follower, [&](const std::string&, Parameter& p) {
    p.value.copy_from(affine(p.value, decay, 0) + affine(*from[i++], 1 - decay, 0));
  });
}

}  // namespace fm
