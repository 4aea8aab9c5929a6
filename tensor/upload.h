// Copies a tensor to a GPU while the GPU computes: the batch of the next step.
#pragma once

#include "tensor/tensor.h"

namespace fm {

class Upload {
 public:
  Upload() = default;
  // Begins the copy, on a separate stream and through pinned memory. `from` may be overwritten on return. take() returns a tensor that already
  // lies on `device` unchanged.
  Upload(const Tensor& from, Device device);
  Upload(Upload&& other) noexcept;
  Upload& operator=(Upload&& other) noexcept;
  ~Upload();

  Tensor take();                                 // the tensor on the device; later work there sees the copied data

 private:
  Tensor tensor_;
  void* under_way_ = nullptr;
};

}  // namespace fm
