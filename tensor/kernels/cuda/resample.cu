// Family `resample` on a GPU: a thread computes one output, a weighted sum of neighbors along one dimension.
#include "tensor/kernels/cuda/runtime.h"
#include "tensor/kernels/cuda/tables.h"
#include "tensor/kernels/cuda/walk.cuh"

namespace fm::cuda {
namespace {

using Count = std::int64_t;

template <class T>
__global__ void resample_kernel(ResampleArgs<T> r) {
  for (Count i = first_element(); i < r.outer * r.out * r.inner; i += element_step()) {
    const Count row = i / r.inner, column = i - row * r.inner, a = row / r.out, o = row - a * r.out;
    const T* x = r.x + (a * r.in + r.first[o]) * r.inner + column;
    T sum = T(0);
    for (Count j = r.begin[o]; j < r.begin[o + 1]; ++j, x += r.inner) sum += static_cast<T>(r.weights[j]) * *x;
    r.y[i] = sum;
  }
}

template <class T>
void resample(const ResampleArgs<T>& r) {
  const Count n = r.outer * r.out * r.inner;
  if (n > 0) launch(current_stream(), grid_for(n), dim3(threads_per_block), 0, resample_kernel<T>, r);
}

}  // namespace

const ResampleKernels& resample_kernels() {
  static constexpr ResampleKernels table{resample<float>, resample<double>};
  return table;
}

}  // namespace fm::cuda
