// A tensor on its way to a GPU beside the computing: the batch after this one.
#pragma once

#include "tensor/tensor.h"

namespace fm {

class Upload {
 public:
  Upload() = default;
  // Begins: on a stream of its own, through pinned memory. `from` may be overwritten on return. Nothing happens to a tensor that lies on `device`.
  Upload(const Tensor& from, Device device);
  Upload(Upload&& other) noexcept;
  Upload& operator=(Upload&& other) noexcept;
  ~Upload();

  Tensor take();                                 // what is asked of the device from now on finds it there

 private:
  Tensor tensor_;
  void* under_way_ = nullptr;
};

}  // namespace fm
