#include "tensor/upload.h"

#include <utility>

#include "tensor/error.h"
#include "tensor/kernels/cuda/backend.h"

namespace fm {

Upload::Upload(const Tensor& from, Device device) : tensor_(from) {
  if (!from.defined() || from.device() == device) return;
  if (!device.is_cuda() || from.device().is_cuda()) {
    tensor_ = from.to(device);
    return;
  }
  const Tensor host = from.contiguous();
  tensor_ = Tensor::empty(from.shape(), from.dtype(), device);
  under_way_ = cuda::on(device).memory.begin_upload(tensor_.raw(), host.raw(), host.bytes());
}

Upload::Upload(Upload&& other) noexcept : tensor_(std::exchange(other.tensor_, {})), under_way_(std::exchange(other.under_way_, nullptr)) {}

Upload& Upload::operator=(Upload&& other) noexcept {
  std::swap(tensor_, other.tensor_);
  std::swap(under_way_, other.under_way_);
  return *this;
}

// The compute stream waits for an upload that was not taken too, since its memory may be reused next. Errors are ignored: the next call to the
// device reports them.
Upload::~Upload() {
  try {
    take();
  } catch (...) {
  }
}

Tensor Upload::take() {
  if (void* upload = std::exchange(under_way_, nullptr)) cuda::on(tensor_.device()).memory.arrive(upload);
  return std::exchange(tensor_, {});
}

}  // namespace fm
