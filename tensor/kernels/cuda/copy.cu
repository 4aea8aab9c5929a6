// Family `copy` on a GPU: strided copies with conversion. If source and destination are contiguous along different dimensions
// (a transpose), the copy goes through a tile of shared memory, so that both reads and writes access neighbors.
#include "tensor/kernels/cuda/runtime.h"
#include "tensor/kernels/cuda/tables.h"
#include "tensor/kernels/cuda/walk.cuh"
#include "tensor/tensor.h"

namespace fm::cuda {
namespace {

using Count = std::int64_t;

template <class B, class A> __device__ B converted(A x) {
  if constexpr (std::is_same_v<A, B>) return x;
  else if constexpr (std::is_same_v<A, bf16>) return static_cast<B>(static_cast<float>(x));
  else if constexpr (std::is_same_v<B, bf16>) return bf16(static_cast<float>(x));
  else return static_cast<B>(x);
}

template <class A, class B> __global__ void copy_kernel(const A* a, B* b, DeviceWalk w) {
  for (Count i = first_element(); i < w.n; i += element_step()) {
    const DeviceWalk::Offsets at = w.at(i);
    b[at.b] = converted<B>(a[at.a]);
  }
}

template <class T> __global__ void fill_kernel(T* y, T value, DeviceWalk w) {
  for (Count i = first_element(); i < w.n; i += element_step()) y[w.at(i).b] = value;
}

template <class T> __global__ void arange_kernel(T* y, Count n) {
  for (Count i = first_element(); i < n; i += element_step()) {
    if constexpr (std::is_same_v<T, bf16>) y[i] = bf16(static_cast<float>(i));
    else y[i] = static_cast<T>(i);
  }
}

// b[o, c, r] = a[o, r, c] for matrices of `rows` x `columns` numbered by the walk: dimension `inner` runs along a, `other` along b.
constexpr int tile = 32, tile_threads = 8;
struct Transpose {
  DeviceWalk outer;                                   // the other dimensions
  Count rows, columns;                                // rows run along b, columns along a
  Count a_row, b_column;                              // strides of the slow directions
};

template <class A, class B> __global__ void transpose_kernel(const A* a, B* b, Transpose t) {
  FM_SHARED(A, block);                                // (tile, tile + 1): no two rows start in one bank
  const Count across = (t.columns + tile - 1) / tile, down = (t.rows + tile - 1) / tile, tiles = across * down * t.outer.n;
  for (Count k = blockIdx.x; k < tiles; k += gridDim.x) {
    const DeviceWalk::Offsets at = t.outer.at(k / (across * down));
    const Count r0 = k % (across * down) / across * tile, c0 = k % across * tile;
    for (int y = threadIdx.y; y < tile; y += tile_threads)
      if (r0 + y < t.rows && c0 + threadIdx.x < t.columns) block[y * (tile + 1) + threadIdx.x] = a[at.a + (r0 + y) * t.a_row + c0 + threadIdx.x];
    __syncthreads();
    for (int y = threadIdx.y; y < tile; y += tile_threads)
      if (c0 + y < t.columns && r0 + threadIdx.x < t.rows)
        b[at.b + (c0 + y) * t.b_column + r0 + threadIdx.x] = converted<B>(A(block[threadIdx.x * (tile + 1) + y]));
    __syncthreads();
  }
}

// Returns the last dimension with stride 1, or -1 if there is none.
int contiguous_dim(const Walk& w, const Strides& strides) {
  for (int d = w.shape.rank() - 1; d >= 0; --d)
    if (strides[d] == 1) return d;
  return -1;
}

template <class A, class B> bool transpose(const A* a, B* b, const Walk& w) {
  const int along_a = contiguous_dim(w, w.a), along_b = contiguous_dim(w, w.b);
  if (along_a < 0 || along_b < 0 || along_a == along_b || w.shape[along_a] < 8 || w.shape[along_b] < 8) return false;
  const int low = along_a < along_b ? along_a : along_b, high = along_a < along_b ? along_b : along_a;
  Walk outer{w.shape.without(high).without(low), w.a.without(high).without(low), w.b.without(high).without(low)};
  if (outer.shape.rank() == 0) outer = {{1}, {0}, {0}};
  const Transpose t{DeviceWalk(outer), w.shape[along_b], w.shape[along_a], w.a[along_b], w.b[along_a]};
  const Count tiles = (t.rows + tile - 1) / tile * ((t.columns + tile - 1) / tile) * outer.shape.numel();
  launch(current_stream(), dim3(static_cast<unsigned>(tiles < 65535 ? tiles : 65535)), dim3(tile, tile_threads), tile * (tile + 1) * sizeof(A),
         transpose_kernel<A, B>, a, b, t);
  return true;
}

void copy(DType from, const void* a, DType to, void* b, const Walk& w) {
  const Count n = w.shape.numel();
  if (n == 0) return;
  dispatch(from, [&]<class A>(A) {
    dispatch(to, [&]<class B>(B) {
      const A* source = static_cast<const A*>(a);
      B* target = static_cast<B*>(b);
      if constexpr (sizeof(A) >= 2 && sizeof(B) >= 2)
        if (transpose(source, target, w)) return;
      launch(current_stream(), grid_for(n), dim3(threads_per_block), 0, copy_kernel<A, B>, source, target, DeviceWalk(w));
    });
  });
}

void fill(DType dtype, void* y, double value, const Walk& w) {
  const Count n = w.shape.numel();
  if (n == 0) return;
  dispatch(dtype, [&]<class T>(T) {
    T v;
    if constexpr (std::is_same_v<T, bf16>) v = bf16(static_cast<float>(value));
    else v = static_cast<T>(value);
    launch(current_stream(), grid_for(n), dim3(threads_per_block), 0, fill_kernel<T>, static_cast<T*>(y), v, DeviceWalk(w));
  });
}

void arange(DType dtype, void* y, Count n) {
  if (n == 0) return;
  dispatch(dtype, [&]<class T>(T) {
    launch(current_stream(), grid_for(n), dim3(threads_per_block), 0, arange_kernel<T>, static_cast<T*>(y), n);
  });
}

}  // namespace

const CopyKernels& copy_kernels() {
  static const CopyKernels tables{copy, fill, arange};
  return tables;
}

}  // namespace fm::cuda
