// Family `reduce` on a GPU. As on the CPU, sums are computed in pieces of fixed size in T, and the partial sums are added in order in double.
// Results are the same every time and accurate to a few ulp at any length.
#include <limits>

#include "tensor/kernels/cuda/lane.cuh"
#include "tensor/kernels/cuda/runtime.h"
#include "tensor/kernels/cuda/tables.h"
#include "tensor/kernels/cuda/walk.cuh"
#include "tensor/memory/allocator.h"

namespace fm::cuda {
namespace {

using Count = std::int64_t;

constexpr unsigned threads = 256;
constexpr Count piece = 64 * threads;                 // elements of a row that a block sums: 64 per thread, in T
constexpr int column_threads = 32, row_threads = 8;   // sum_columns: a block has 32 columns, its 8 rows of threads take turns
constexpr Count column_piece = 64 * row_threads;      // rows that a block sums

std::shared_ptr<std::byte> workspace(std::size_t bytes) { return allocate(bytes, Device::cuda(current_device())); }

unsigned blocks_for(Count n) { return static_cast<unsigned>(n < 65535 ? n : 65535); }

// Returns the sum of the values of all threads, in all threads. Values are added pairwise. Needs shared memory for `threads` values.
template <class Shared, class T> __device__ T block_sum(Shared& shared, T value) {
  shared[threadIdx.x] = value;
  for (unsigned half = threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) shared[threadIdx.x] = T(shared[threadIdx.x]) + T(shared[threadIdx.x + half]);
  }
  __syncthreads();
  const T total = shared[0];
  __syncthreads();
  return total;
}

// Returns a thread's sum of x[begin], x[begin + step], ..., up to x[end - 1].
struct Same {
  template <class T> __device__ static double sum(const T* x, Count begin, Count end, Count step) {
    T sum = T(0);
    for (Count i = begin; i < end; i += step) sum += x[i];
    return static_cast<double>(sum);
  }
};
struct Squared {
  template <class T> __device__ static double sum(const T* x, Count begin, Count end, Count step) {
    T sum = T(0);
    for (Count i = begin; i < end; i += step) sum += x[i] * x[i];
    if (sizeof(T) == sizeof(double) || (sum >= T(squares_safe_from) && sum <= std::numeric_limits<T>::max())) return static_cast<double>(sum);
    double wide = 0;
    for (Count i = begin; i < end; i += step) wide += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    return wide;
  }
};

// partial[o, p] = sum of piece p of row o.
template <class F, class T> __global__ void row_pieces_kernel(const T* x, double* partial, Count outer, Count n, Count pieces) {
  FM_SHARED(double, shared);
  for (Count job = blockIdx.x; job < outer * pieces; job += gridDim.x) {
    const Count begin = job % pieces * piece, end = begin + piece < n ? begin + piece : n;
    const T* row = x + job / pieces * n;
    const double total = block_sum(shared, F::sum(row, begin + threadIdx.x, end, Count(threads)));
    if (threadIdx.x == 0) partial[job] = total;
  }
}

// y[r] = sum of the `pieces` partial sums p[r * row_step + k * step], in order.
template <class T> __global__ void combine_kernel(const double* partial, T* y, Count rows, Count pieces, Count row_step, Count step) {
  for (Count r = first_element(); r < rows; r += element_step()) {
    double total = 0;
    for (Count k = 0; k < pieces; ++k) total += partial[r * row_step + k * step];
    y[r] = static_cast<T>(total);
  }
}

// y[o] = sum of row o, for rows that are short enough for a warp each.
constexpr Count short_row = 64 * 32;
template <class F, class T, class Y> __global__ void short_rows_kernel(const T* x, Y* y, Count outer, Count n) {
  const WarpLane lane{static_cast<int>(threadIdx.x % 32)};
  for (Count o = first_row(); o < outer; o += row_step()) {
    const double sum = F::sum(x + o * n, threadIdx.x % 32, n, Count(32));
    const double total = lane.sum(32, [&](Count) { return sum; });       // lane i has element i of 32
    if (threadIdx.x % 32 == 0) y[o] = static_cast<Y>(total);
  }
}

template <class F, class T, class Y> void sum_pieces(const T* x, Y* y, Count outer, Count n) {
  if (n <= short_row) {
    launch(current_stream(), grid_of_rows(outer), block_of_rows(outer), 0, short_rows_kernel<F, T, Y>, x, y, outer, n);
    return;
  }
  const Count pieces = (n + piece - 1) / piece;
  const auto memory = workspace(static_cast<std::size_t>(outer * pieces) * sizeof(double));
  double* partial = reinterpret_cast<double*>(memory.get());
  launch(current_stream(), dim3(blocks_for(outer * pieces)), dim3(threads), threads * sizeof(double), row_pieces_kernel<F, T>, x, partial, outer, n, pieces);
  launch(current_stream(), grid_for(outer, 1), dim3(threads_per_block), 0, combine_kernel<Y>, static_cast<const double*>(partial), y, outer, pieces,
         pieces, Count(1));
}

template <class T> void sum_rows(const T* x, T* y, Count outer, Count n) {
  if (outer > 0) sum_pieces<Same>(x, y, outer, n);
}

template <class T> void sum_squares(const T* x, Count n, double* y) { sum_pieces<Squared>(x, y, 1, n); }

// partial[p, o, j] = sum of piece p of x[o, :, j].
template <class T> __global__ void column_pieces_kernel(const T* x, double* partial, Count outer, Count n, Count inner, Count pieces) {
  FM_SHARED(double, shared);
  const Count cuts = (inner + column_threads - 1) / column_threads;
  for (Count job = blockIdx.x; job < outer * pieces * cuts; job += gridDim.x) {
    const Count j = job % cuts * column_threads + threadIdx.x, p = job / cuts % pieces, o = job / cuts / pieces;
    const Count end = (p + 1) * column_piece < n ? (p + 1) * column_piece : n;
    T sum = T(0);
    if (j < inner)
      for (Count i = p * column_piece + threadIdx.y; i < end; i += row_threads) sum += x[(o * n + i) * inner + j];
    shared[threadIdx.y * column_threads + threadIdx.x] = static_cast<double>(sum);
    __syncthreads();
    if (threadIdx.y == 0 && j < inner) {
      double total = 0;
      for (int k = 0; k < row_threads; ++k) total += double(shared[k * column_threads + threadIdx.x]);
      partial[(p * outer + o) * inner + j] = total;
    }
    __syncthreads();
  }
}

template <class T> void sum_columns(const T* x, T* y, Count outer, Count n, Count inner) {
  if (outer * inner == 0) return;
  const Count pieces = n > column_piece ? (n + column_piece - 1) / column_piece : 1, cuts = (inner + column_threads - 1) / column_threads;
  const auto memory = workspace(static_cast<std::size_t>(pieces * outer * inner) * sizeof(double));
  double* partial = reinterpret_cast<double*>(memory.get());
  launch(current_stream(), dim3(blocks_for(outer * pieces * cuts)), dim3(column_threads, row_threads), threads * sizeof(double),
         column_pieces_kernel<T>, x, partial, outer, n, inner, pieces);
  launch(current_stream(), grid_for(outer * inner, 1), dim3(threads_per_block), 0, combine_kernel<T>, static_cast<const double*>(partial), y,
         outer * inner, pieces, Count(1), outer * inner);
}

// Returns the larger number, or NaN if one of the two is NaN.
template <class T> __device__ T larger(T a, T b) { return b > a || b != b ? b : a; }

template <class T> __global__ void max_rows_kernel(const T* x, T* y, Count outer, Count n) {
  FM_SHARED(T, shared);
  for (Count o = blockIdx.x; o < outer; o += gridDim.x) {
    const T* row = x + o * n;
    T best = row[0];
    for (Count i = threadIdx.x; i < n; i += threads) best = larger(best, row[i]);
    shared[threadIdx.x] = best;
    for (unsigned half = threads / 2; half > 0; half /= 2) {
      __syncthreads();
      if (threadIdx.x < half) shared[threadIdx.x] = larger(T(shared[threadIdx.x]), T(shared[threadIdx.x + half]));
    }
    if (threadIdx.x == 0) y[o] = shared[0];
    __syncthreads();
  }
}

template <class T> void max_rows(const T* x, T* y, Count outer, Count n) {
  if (outer > 0) launch(current_stream(), dim3(blocks_for(outer)), dim3(threads), threads * sizeof(T), max_rows_kernel<T>, x, y, outer, n);
}

template <class T> ReduceTable<T> table() { return {sum_rows<T>, sum_columns<T>, max_rows<T>, sum_squares<T>}; }

}  // namespace

const ReduceKernels& reduce_kernels() {
  static const ReduceKernels tables{table<float>(), table<double>()};
  return tables;
}

}  // namespace fm::cuda
