// A tensor on its way to a GPU beside the computing: the batch after this one.
#pragma once

#include "tensor/tensor.h"

namespace fm {

class Upload {
 public:
  Upload() = default;
  // Begins: on a separate stream, through pinned memory. `from` may be overwritten on return. A tensor that lies on `device` is returned unchanged.
  Upload(const Tensor& from, Device device);
  Upload(Upload&& other) noexcept;
  Upload& operator=(Upload&& other) noexcept;
  ~Upload();

  Tensor take();                                 // later work of the device finds the data there

 private:
  Tensor tensor_;
  void* under_way_ = nullptr;
};

}  // namespace fm
