// Family `map` on a GPU: one thread computes a few elements, far apart so that neighboring threads read neighbors. The speed is limited by memory
// bandwidth. bf16 is widened in registers. The mathematics is tensor/ops/elementwise_ops.h, as on the CPU.
#include "tensor/dual.h"
#include "tensor/kernels/cuda/runtime.h"
#include "tensor/kernels/cuda/tables.h"
#include "tensor/kernels/cuda/walk.cuh"

namespace fm::cuda {
namespace {

using Count = std::int64_t;

template <class T> __device__ Scalar<T> load(const T* x, Count i) { return static_cast<Scalar<T>>(x[i]); }
template <class T> __device__ void store(T* y, Count i, Scalar<T> value) { y[i] = static_cast<T>(value); }

template <class Op, class T> __global__ void unary_value_kernel(const T* x, T* y, Count n) {
  for (Count i = first_element(); i < n; i += element_step()) store(y, i, value_anywhere<Op>(load(x, i)));
}

template <class Op, class T> __global__ void unary_slope_kernel(const T* saved, const T* g, T* out, Count n) {
  for (Count i = first_element(); i < n; i += element_step()) store(out, i, slope_anywhere<Op>(load(saved, i)) * load(g, i));
}

template <class Op, class T> __global__ void unary_dual_kernel(const T* x, const T* dx, T* y, T* dy, Count n) {
  for (Count i = first_element(); i < n; i += element_step()) {
    const Scalar<T> at = load(x, i), value = value_anywhere<Op>(at), d = load(dx, i);
    store(y, i, value);
    store(dy, i, slope_anywhere<Op>(saves_output<Op> ? value : at) * d);
  }
}

template <class Op, class T> __global__ void unary_curvature_kernel(const T* x, const T* dx, const T* g, T* out, Count n) {
  for (Count i = first_element(); i < n; i += element_step()) store(out, i, curvature_anywhere<Op>(load(x, i)) * load(dx, i) * load(g, i));
}

template <class Op, class T> __global__ void binary_kernel(const T* a, const T* b, T* y, DeviceWalk w) {
  for (Count i = first_element(); i < w.n; i += element_step()) {
    const DeviceWalk::Offsets at = w.at(i);
    store(y, i, Op::value(load(a, at.a), load(b, at.b)));
  }
}

template <class T> __global__ void affine_kernel(const T* x, Scalar<T> scale, Scalar<T> shift, T* y, Count n) {
  for (Count i = first_element(); i < n; i += element_step()) store(y, i, scale * load(x, i) + shift);
}

template <class T> __global__ void axpy_kernel(Scalar<T> alpha, const T* x, T* y, DeviceWalk w) {
  for (Count i = first_element(); i < w.n; i += element_step()) {
    const DeviceWalk::Offsets at = w.at(i);
    store(y, at.b, load(y, at.b) + alpha * load(x, at.a));
  }
}

template <class T> __global__ void select_kernel(const T* condition, const T* a, const T* b, T* y, Count n) {
  for (Count i = first_element(); i < n; i += element_step()) y[i] = load(condition, i) != Scalar<T>(0) ? a[i] : b[i];
}

// Launches `kernel` over n elements; does nothing if n is 0.
template <class... Parameters, class... Args> void over(Count n, void (*kernel)(Parameters...), Args... args) {
  if (n > 0) launch(current_stream(), grid_for(n), dim3(threads_per_block), 0, kernel, args...);
}

template <class Op, class T> void unary_value(const T* x, T* y, Count n) { over(n, unary_value_kernel<Op, T>, x, y, n); }
template <class Op, class T> void unary_slope(const T* saved, const T* g, T* out, Count n) { over(n, unary_slope_kernel<Op, T>, saved, g, out, n); }
template <class Op, class T> void unary_dual(const T* x, const T* dx, T* y, T* dy, Count n) { over(n, unary_dual_kernel<Op, T>, x, dx, y, dy, n); }
template <class Op, class T> void unary_curvature(const T* x, const T* dx, const T* g, T* out, Count n) {
  over(n, unary_curvature_kernel<Op, T>, x, dx, g, out, n);
}
template <class Op, class T> void binary(const T* a, const T* b, T* y, const Walk& w) {
  over(w.shape.numel(), binary_kernel<Op, T>, a, b, y, DeviceWalk(w));
}
template <class T> void affine(const T* x, Scalar<T> scale, Scalar<T> shift, T* y, Count n) { over(n, affine_kernel<T>, x, scale, shift, y, n); }
template <class T> void axpy(Scalar<T> alpha, const T* x, T* y, const Walk& w) { over(w.shape.numel(), axpy_kernel<T>, alpha, x, y, DeviceWalk(w)); }
template <class T> void select(const T* condition, const T* a, const T* b, T* y, Count n) { over(n, select_kernel<T>, condition, a, b, y, n); }

template <class T, class... Unary, class... Binary> MapTable<T> table(OpList<Unary...>, OpList<Binary...>) {
  return {{{unary_value<Unary, T>, unary_slope<Unary, T>, unary_dual<Unary, T>, unary_curvature<Unary, T>}...},
          {binary<Binary, T>...},
          affine<T>,
          axpy<T>,
          select<T>};
}

}  // namespace

const MapKernels& map_kernels() {
  static const MapKernels tables{table<float>(UnaryOps{}, BinaryOps{}), table<double>(UnaryOps{}, BinaryOps{}), table<bf16>(UnaryOps{}, BinaryOps{})};
  return tables;
}

}  // namespace fm::cuda
