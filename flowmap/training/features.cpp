#include "flowmap/training/features.h"

#include "tensor/ops/copy.h"

namespace fm {

void SeenParts::add(const Seen& part) {
  vectors_.push_back(part.vectors);
  if (part.spatial.defined()) spatial_.push_back(part.spatial);
  if (part.logits.defined()) logits_.push_back(part.logits);
  classes_.insert(classes_.end(), part.classes.begin(), part.classes.end());
}

Seen SeenParts::joined() const {
  const auto all = [](const std::vector<Tensor>& parts) { return parts.empty() ? Tensor() : concat(parts, 0); };
  return {concat(vectors_, 0), classes_, all(spatial_), all(logits_)};
}

Features plain_features() {
  return {"values", "values", [](const Tensor& samples) { return Seen{samples.to(Device{}).to(DType::f32).contiguous().reshape({samples.dim(0), -1}), {}}; },
          true};
}

}  // namespace fm
