// The host's part of a step's batch, on its way to the GPU while the step before computes. On the CPU it is made when it is asked for.
#pragma once

#include <functional>
#include <vector>

#include "tensor/upload.h"

namespace fm {

class BatchAhead {
 public:
  // Tensors of rows first ... first + n - 1 of the order of training; `next`: where the caller goes on. Undefined ones stay so.
  using Make = std::function<std::vector<Tensor>(std::int64_t first, std::int64_t n, std::int64_t next)>;

  explicit BatchAhead(Make make, Device device = default_device()) : make_(std::move(make)), device_(device) {}

  // make(first, n, next) on the device. What will be asked for next is guessed as ReadAhead does (data/read_ahead.h): as many rows, from `next` on.
  std::vector<Tensor> take(std::int64_t first, std::int64_t n, std::int64_t next);

 private:
  std::vector<Upload> begin(std::int64_t first, std::int64_t n, std::int64_t next);

  Make make_;
  Device device_;
  std::int64_t first_ = -1, n_ = 0;
  std::vector<Upload> under_way_;
};

}  // namespace fm
