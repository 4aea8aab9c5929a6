#include "flowmap/training/features.h"

namespace fm {

Features plain_features() {
  return {"values", "values", [](const Tensor& samples) { return Seen{samples.to(Device{}).to(DType::f32).contiguous().reshape({samples.dim(0), -1}), {}}; },
          true};
}

}  // namespace fm
