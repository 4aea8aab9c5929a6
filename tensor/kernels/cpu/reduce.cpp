#include "tensor/kernels/cpu/reduce.h"

#include <limits>
#include <type_traits>

#include "tensor/kernels/cpu/scratch.h"
#include "tensor/parallel.h"

namespace fm::cpu::FM_ISA {
namespace {

constexpr std::int64_t block = 4096;                 // elements that are summed in T; these sums are added in double
constexpr std::int64_t column_block = 256;           // columns that one job sums

template <class T> FM_INLINE T block_sum(const T* x, std::int64_t n) {
  T s = 0;
#pragma omp simd reduction(+ : s)
  for (std::int64_t i = 0; i < n; ++i) s += x[i];
  return s;
}

template <class T> FM_INLINE T block_squares(const T* x, std::int64_t n) {
  T s = 0;
#pragma omp simd reduction(+ : s)
  for (std::int64_t i = 0; i < n; ++i) s += x[i] * x[i];
  return s;
}

// Returns a sum of squares, in double if it is too large or too small for floats. A block sum of 2^-100 is still exact enough: each of its 4096
// terms that was rounded to 0 or to few digits is below 2^-126.
template <class T> FM_INLINE double safe_squares(const T* x, std::int64_t n) {
  const T fast = block_squares(x, n);
  if constexpr (std::is_same_v<T, float>) {
    if (fast >= squares_safe_from && fast <= std::numeric_limits<float>::max()) return static_cast<double>(fast);
    double s = 0;
#pragma omp simd reduction(+ : s)
    for (std::int64_t i = 0; i < n; ++i) s += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    return s;
  }
  return static_cast<double>(fast);
}

template <class T> FM_INLINE double row_sum(const T* x, std::int64_t n) {
  double total = 0;
  for (std::int64_t i = 0; i < n; i += block) total += block_sum(x + i, n - i < block ? n - i : block);
  return total;
}

// Sums one long row: its blocks in parallel, then the partial sums in order.
template <class T, class F> FM_INLINE double long_sum(std::int64_t n, const F& block_value) {
  const std::int64_t blocks = (n + block - 1) / block;
  double* partial = static_cast<double*>(thread_scratch(blocks * std::int64_t{sizeof(double)}, Scratch::partial_sums));
  parallel_for(blocks, block, [&](std::int64_t b) { partial[b] = block_value(b * block, n - b * block < block ? n - b * block : block); });
  double total = 0;
  for (std::int64_t b = 0; b < blocks; ++b) total += partial[b];
  return total;
}

template <class T> void sum_rows(const T* x, T* y, std::int64_t outer, std::int64_t n) {
  if (outer == 1 && n > 8 * block) {
    y[0] = static_cast<T>(long_sum<T>(n, [&](std::int64_t i, std::int64_t count) { return static_cast<double>(block_sum(x + i, count)); }));
    return;
  }
  parallel_for(outer, n, [&](std::int64_t o) { y[o] = static_cast<T>(row_sum(x + o * n, n)); });
}

// Adds 64 rows at a time in T, and adds these sums in double.
template <class T> void sum_columns(const T* x, T* y, std::int64_t outer, std::int64_t n, std::int64_t inner) {
  constexpr std::int64_t rows_at_once = 64;
  const std::int64_t cuts = (inner + column_block - 1) / column_block;
  parallel_for(outer * cuts, n * (inner < column_block ? inner : column_block), [&](std::int64_t job) {
    const std::int64_t o = job / cuts, j0 = job % cuts * column_block;
    const std::int64_t width = inner - j0 < column_block ? inner - j0 : column_block;
    const T* from = x + o * n * inner + j0;
    T part[column_block];
    double total[column_block];
    for (std::int64_t j = 0; j < width; ++j) total[j] = 0;
    for (std::int64_t i0 = 0; i0 < n; i0 += rows_at_once) {
      const std::int64_t i1 = n - i0 < rows_at_once ? n : i0 + rows_at_once;
      for (std::int64_t j = 0; j < width; ++j) part[j] = 0;
      for (std::int64_t i = i0; i < i1; ++i) {
        const T* row = from + i * inner;
#pragma omp simd
        for (std::int64_t j = 0; j < width; ++j) part[j] += row[j];
      }
      for (std::int64_t j = 0; j < width; ++j) total[j] += static_cast<double>(part[j]);
    }
    for (std::int64_t j = 0; j < width; ++j) y[o * inner + j0 + j] = static_cast<T>(total[j]);
  });
}

template <class T> void max_rows(const T* x, T* y, std::int64_t outer, std::int64_t n) {
  parallel_for(outer, n, [&](std::int64_t o) {
    const T* row = x + o * n;
    T best = row[0];
    for (std::int64_t i = 1; i < n; ++i) best = row[i] > best || row[i] != row[i] ? row[i] : best;
    y[o] = best;
  });
}

template <class T> void sum_squares(const T* x, std::int64_t n, double* y) {
  y[0] = long_sum<T>(n, [&](std::int64_t i, std::int64_t count) { return safe_squares(x + i, count); });
}

template <class T> constexpr ReduceTable<T> table{sum_rows<T>, sum_columns<T>, max_rows<T>, sum_squares<T>};

}  // namespace

const ReduceKernels& reduce_kernels() {
  static constexpr ReduceKernels kernels{table<float>, table<double>};
  return kernels;
}

}  // namespace fm::cpu::FM_ISA
