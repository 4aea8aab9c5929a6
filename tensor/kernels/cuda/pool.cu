// Family `pool` on a GPU: a thread computes one element of a result. The mathematics is tensor/kernels/pool.h, as on the CPU.
#include "tensor/kernels/cuda/runtime.h"
#include "tensor/kernels/cuda/tables.h"
#include "tensor/kernels/cuda/walk.cuh"

namespace fm::cuda {
namespace {

using Count = std::int64_t;

// Calls f(plane, row, column, i) for the elements i of images (planes, height, width) that belong to this thread.
template <class F> __device__ void each_pixel(Count planes, Count height, Count width, const F& f) {
  for (Count i = first_element(); i < planes * height * width; i += element_step()) {
    const Count row = i / width, plane = row / height;
    f(plane, row - plane * height, i - row * width, i);
  }
}

template <class T> __global__ void pool_max_kernel(PoolShape s, const T* x, T* y, std::int32_t* index) {
  each_pixel(s.planes, s.out_height(), s.out_width(), [&](Count plane, Count row, Count column, Count i) {
    const T* image = x + plane * s.height * s.width;
    const Count at = pool_argmax(s, image, pool_window(s, row, s.height), pool_window(s, column, s.width));
    y[i] = image[at];
    index[i] = static_cast<std::int32_t>(at);
  });
}

template <class T> __global__ void pool_take_kernel(PoolShape s, const T* x, const std::int32_t* index, T* y) {
  each_pixel(s.planes, s.out_height(), s.out_width(), [&](Count plane, Count, Count, Count i) { y[i] = x[plane * s.height * s.width + index[i]]; });
}

template <class T> __global__ void pool_max_pull_kernel(PoolShape s, const T* gy, const std::int32_t* index, T* gx) {
  const Count rows = s.out_height(), columns = s.out_width();
  each_pixel(s.planes, s.height, s.width, [&](Count plane, Count row, Count column, Count i) {
    const Count from = plane * rows * columns;
    gx[i] = pool_max_pull(gy + from, index + from, columns, row * s.width + column, pool_outputs(s, row, rows), pool_outputs(s, column, columns));
  });
}

template <class T> __global__ void pool_mean_kernel(PoolShape s, const T* x, T* y) {
  each_pixel(s.planes, s.out_height(), s.out_width(), [&](Count plane, Count row, Count column, Count i) {
    y[i] = pool_mean(s, x + plane * s.height * s.width, pool_window(s, row, s.height), pool_window(s, column, s.width));
  });
}

template <class T> __global__ void pool_mean_pull_kernel(PoolShape s, const T* gy, T* gx) {
  const Count rows = s.out_height(), columns = s.out_width();
  each_pixel(s.planes, s.height, s.width, [&](Count plane, Count row, Count column, Count i) {
    gx[i] = pool_mean_pull(s, gy + plane * rows * columns, columns, pool_outputs(s, row, rows), pool_outputs(s, column, columns));
  });
}

// Launches a kernel for n elements of the result.
template <class Kernel, class... Args> void pool_launch(Count n, Kernel kernel, const PoolShape& s, Args... args) {
  if (n > 0) launch(current_stream(), grid_for(n, 1), dim3(threads_per_block), 0, kernel, s, args...);
}

Count inputs(const PoolShape& s) { return s.planes * s.height * s.width; }
Count outputs(const PoolShape& s) { return s.planes * s.out_height() * s.out_width(); }

template <class T> void pool_max(const PoolShape& s, const T* x, T* y, std::int32_t* index) { pool_launch(outputs(s), pool_max_kernel<T>, s, x, y, index); }
template <class T> void pool_take(const PoolShape& s, const T* x, const std::int32_t* index, T* y) { pool_launch(outputs(s), pool_take_kernel<T>, s, x, index, y); }
template <class T> void pool_max_gradient(const PoolShape& s, const T* gy, const std::int32_t* index, T* gx) {
  pool_launch(inputs(s), pool_max_pull_kernel<T>, s, gy, index, gx);
}
template <class T> void pool_means(const PoolShape& s, const T* x, T* y) { pool_launch(outputs(s), pool_mean_kernel<T>, s, x, y); }
template <class T> void pool_mean_gradient(const PoolShape& s, const T* gy, T* gx) { pool_launch(inputs(s), pool_mean_pull_kernel<T>, s, gy, gx); }

template <class T> constexpr PoolFunctions<T> functions{pool_max<T>, pool_take<T>, pool_max_gradient<T>, pool_means<T>, pool_mean_gradient<T>};

}  // namespace

const PoolKernels& pool_kernels() {
  static constexpr PoolKernels table{functions<float>, functions<double>};
  return table;
}

}  // namespace fm::cuda
