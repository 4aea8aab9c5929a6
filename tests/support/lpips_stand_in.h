// LPIPS with weights that are functions of their names (support/hash_fill.h), in memory as its published files would be.
#pragma once

#include <string>

#include "nn/models/lpips_weights.h"
#include "tests/support/hash_fill.h"

namespace fm::test {

// All tensors whose names begin with `prefix`: "features." for the trunk, "lin" for the heads.
inline Weights lpips_stand_in(const std::string& trunk, const std::string& prefix) {
  Weights weights{trunk + "_" + prefix + ".pth", {}, -1, nullptr};
  const ShapesOnly shapes;
  const Lpips model{LpipsConfig{trunk}};
  for (const auto& [name, tensor] : state_dict(model))
    if (name.starts_with(prefix)) weights.tensors.emplace_back(name, hash_fill(name, tensor.shape()));
  return weights;
}

inline Lpips hash_filled_lpips(const std::string& trunk, DType type) {
  const Weights heads = lpips_stand_in(trunk, "lin");
  Lpips model = lpips_from(lpips_stand_in(trunk, "features."), &heads, {trunk});
  to_dtype(model, type);
  return model;
}

}  // namespace fm::test
