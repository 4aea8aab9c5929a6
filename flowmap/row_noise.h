// Fresh noise for samplers that add noise between their calls. The bits of a sample's own first noise name it, so a sample is the same in any batch.
#pragma once

#include "flowmap/draws.h"

namespace fm {

class RowNoise {
 public:
  explicit RowNoise(const Tensor& noise);              // noise (B, ...) that the sampler began with
  // N(0, 1) in its shape, type and place, for step `step` of the sampler.
  Tensor at(std::int64_t step) const;
  // N(0, 1) of another variable beside the first noise, (B, row): independent of all steps. In the same type and place.
  Tensor beside(const Shape& row) const;

 private:
  Shape row_;
  DType dtype_;
  Device device_;
  Samples names_;
};

}  // namespace fm
