// Family `index` on a GPU. An index out of range touches no memory and is reported through the error word (report.cuh).
#include "tensor/kernels/cuda/report.cuh"
#include "tensor/kernels/cuda/runtime.h"
#include "tensor/kernels/cuda/tables.h"
#include "tensor/kernels/cuda/walk.cuh"
#include "tensor/tensor.h"

namespace fm::cuda {
namespace {

using Count = std::int64_t;

constexpr int threads = 256, group = 32;  // for scatter_add and argmax: threads of a block, and of a group that counts together

__device__ bool in_range(Count index, Count limit) { return index >= 0 && index < limit; }

unsigned blocks_for(Count n) { return static_cast<unsigned>(n < 1 << 20 ? n : 1 << 20); }

__global__ void check_kernel(const Count* index, Count n, Count limit, unsigned long long* error) {
  for (Count i = first_element(); i < n; i += element_step())
    if (!in_range(index[i], limit)) report_index(error, index[i], limit);
}

void check_range(const Count* index, Count n, Count limit) {
  if (n > 0) launch(current_stream(), grid_for(n), dim3(threads_per_block), 0, check_kernel, index, n, limit, error_word());
}

// Rows are copied as raw units, the widest that their size and alignment allow.
struct alignas(16) Wide {
  std::uint64_t half[2];
};

template <class Unit>
__global__ void gather_kernel(const Unit* x, const Count* index, Unit* y, Count rows, Count units, Count limit, unsigned long long* error) {
  for (Count i = first_element(); i < rows * units; i += element_step()) {
    const Count row = i / units, j = i - row * units, from = index[row];
    if (in_range(from, limit))
      y[i] = x[from * units + j];
    else if (j == 0)
      report_index(error, from, limit);
  }
}

template <class Unit>
bool gather_by(const void* x, const Count* index, void* y, Count rows, Count bytes, Count limit) {
  const auto fits = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % sizeof(Unit) == 0; };
  const Count size = sizeof(Unit), units = bytes / size;
  if (bytes % size != 0 || !fits(x) || !fits(y)) return false;
  launch(current_stream(), grid_for(rows * units), dim3(threads_per_block), 0, gather_kernel<Unit>, static_cast<const Unit*>(x), index,
         static_cast<Unit*>(y), rows, units, limit, error_word());
  return true;
}

void gather(DType dtype, const void* x, const Count* index, void* y, Count rows, Count row, Count limit) {
  const Count bytes = row * static_cast<Count>(size_of(dtype));
  if (rows <= 0) return;
  if (bytes == 0) return check_range(index, rows, limit);
  gather_by<Wide>(x, index, y, rows, bytes, limit) || gather_by<std::uint32_t>(x, index, y, rows, bytes, limit) ||
      gather_by<std::uint16_t>(x, index, y, rows, bytes, limit) || gather_by<std::uint8_t>(x, index, y, rows, bytes, limit);
}

// The layout of scatter_add's shared memory: the flag of each thread (`hit`), the list of threads with the flag, and their number in each group.
constexpr int hits = 0, list = threads, counts = 2 * threads, shared_ints = 2 * threads + threads / group;

// Writes the numbers of the threads with `hit` to shared[list ...], in order, and returns their count. Readers of the list need no barrier: two
// barriers come before the next call writes the list again.
template <class Shared>
__device__ int ordered_hits(Shared& shared, bool hit) {
  const int me = static_cast<int>(threadIdx.x), first = me / group * group;
  shared[hits + me] = hit ? 1 : 0;
  __syncthreads();
  if (me < threads / group) {
    int sum = 0;
    for (int j = 0; j < group; ++j) sum += int(shared[hits + me * group + j]);
    shared[counts + me] = sum;
  }
  __syncthreads();
  int before = 0, total = 0;
  for (int j = 0; j < threads / group; ++j) {
    if (j == me / group) before = total;
    total += int(shared[counts + j]);
  }
  if (hit) {
    for (int j = first; j < me; ++j) before += int(shared[hits + j]);
    shared[list + before] = me;
  }
  __syncthreads();
  return total;
}

// A block owns row `target` of y and searches the indices, `threads` at a time, for that number. So additions are in the order of the indices.
template <class T>
__global__ void scatter_kernel(const T* x, const Count* index, T* y, Count rows, Count row, Count limit, unsigned long long* error) {
  FM_SHARED(int, shared);
  for (Count target = blockIdx.x; target < limit; target += gridDim.x)
    for (Count begin = 0; begin < rows; begin += threads) {
      const Count i = begin + threadIdx.x;
      const bool there = i < rows;
      if (there && target == 0 && !in_range(index[i], limit)) report_index(error, index[i], limit);
      const int found = ordered_hits(shared, there && index[i] == target);
      for (Count j = threadIdx.x; found > 0 && j < row; j += threads) {
        T sum = y[target * row + j];
        for (int k = 0; k < found; ++k) sum = T(sum + x[(begin + int(shared[list + k])) * row + j]);
        y[target * row + j] = sum;
      }
    }
}

void scatter_add(DType dtype, const void* x, const Count* index, void* y, Count rows, Count row, Count limit) {
  if (rows <= 0) return;
  if (row == 0 || limit == 0) return check_range(index, rows, limit);
  dispatch(dtype, [&]<class T>(T) {
    launch(current_stream(), dim3(blocks_for(limit)), dim3(threads), shared_ints * sizeof(int), scatter_kernel<T>, static_cast<const T*>(x),
           index, static_cast<T*>(y), rows, row, limit, error_word());
  });
}

template <class T>
__device__ T number(bool x) {
  if constexpr (std::is_same_v<T, bf16>)
    return bf16(x ? 1.0f : 0.0f);
  else
    return static_cast<T>(x);
}

template <class T>
__global__ void one_hot_kernel(const Count* index, T* y, Count rows, Count classes, unsigned long long* error) {
  for (Count i = first_element(); i < rows * classes; i += element_step()) {
    const Count row = i / classes, j = i - row * classes;
    y[i] = number<T>(index[row] == j);
    if (j == 0 && !in_range(index[row], classes)) report_index(error, index[row], classes);
  }
}

void one_hot(DType dtype, const Count* index, void* y, Count rows, Count classes) {
  if (rows <= 0) return;
  if (classes == 0) return check_range(index, rows, classes);
  dispatch(dtype, [&]<class T>(T) {
    launch(current_stream(), grid_for(rows * classes), dim3(threads_per_block), 0, one_hot_kernel<T>, index, static_cast<T*>(y), rows,
           classes, error_word());
  });
}

// Like std::max_element: a NaN is chosen only if it comes first. Shared memory holds the index of each thread's best element.
__global__ void argmax_kernel(const double* x, Count* y, Count rows, Count n) {
  FM_SHARED(Count, best);
  for (Count r = blockIdx.x; r < rows; r += gridDim.x) {
    const double* row = x + r * n;
    Count mine = 0;
    for (Count i = threadIdx.x; i < n; i += threads)
      if (row[i] > row[mine]) mine = i;
    best[threadIdx.x] = mine;
    for (int half = threads / 2; half > 0; half /= 2) {
      __syncthreads();
      if (static_cast<int>(threadIdx.x) < half) {
        const Count a = best[threadIdx.x], b = best[threadIdx.x + half];
        if (row[b] > row[a] || (row[b] == row[a] && b < a)) best[threadIdx.x] = b;
      }
    }
    if (threadIdx.x == 0) y[r] = best[0];
    __syncthreads();
  }
}

void argmax(const double* x, Count* y, Count rows, Count n) {
  if (rows > 0 && n > 0)
    launch(current_stream(), dim3(blocks_for(rows)), dim3(threads), threads * sizeof(Count), argmax_kernel, x, y, rows, n);
}

}  // namespace

const IndexKernels& index_kernels() {
  static constexpr IndexKernels table{gather, scatter_add, one_hot, check_range, argmax};
  return table;
}

}  // namespace fm::cuda
