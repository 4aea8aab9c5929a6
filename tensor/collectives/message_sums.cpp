#include "tensor/collectives/message_sums.h"

#include <algorithm>

namespace fm {
namespace {

// Adds in blocks, so that the running sums stay in the cache. The sum of two f32 numbers in double, rounded, equals their sum in f32.
template <class T, class Sum> void add_parts(const std::vector<const std::byte*>& parts, std::byte* out, std::int64_t n) {
  constexpr std::int64_t block = 1024;
  Sum sums[block];
  T* to = reinterpret_cast<T*>(out);
  const auto part = [&](std::size_t r) { return reinterpret_cast<const T*>(parts[r]); };
  if (parts.size() == 2) {
    const T *x = part(0), *y = part(1);
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) to[i] = x[i] + y[i];
    return;
  }
  for (std::int64_t first = 0; first < n; first += block) {
    const std::int64_t count = std::min(block, n - first);
    std::fill_n(sums, count, Sum(0));
    for (std::size_t r = 0; r < parts.size(); ++r) {
      const T* x = part(r) + first;
#pragma omp simd
      for (std::int64_t i = 0; i < count; ++i) sums[i] += static_cast<Sum>(x[i]);
    }
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) to[first + i] = static_cast<T>(sums[i]);
  }
}

}  // namespace

std::vector<Piece> pieces_of(const Tensor& x, const Communicator::Counts& counts) {
  std::vector<Piece> pieces;
  auto* at = static_cast<std::byte*>(x.raw());
  for (std::int64_t n : counts) {
    const std::size_t bytes = static_cast<std::size_t>(n) * size_of(x.dtype());
    pieces.push_back({at, bytes});
    at += bytes;
  }
  return pieces;
}

void add_parts(DType dtype, const std::vector<const std::byte*>& parts, std::byte* out, std::int64_t n) {
  if (dtype == DType::f32) add_parts<float, double>(parts, out, n);
  else if (dtype == DType::f64) add_parts<double, double>(parts, out, n);
  else add_parts<std::int64_t, std::int64_t>(parts, out, n);
}

}  // namespace fm
