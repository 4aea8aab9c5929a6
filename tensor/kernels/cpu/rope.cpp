#include "tensor/kernels/cpu/rope.h"

#include "tensor/parallel.h"

namespace fm::cpu::FM_ISA {
namespace {

// Pairs (a, b) -> (a cos - b sin, b cos + a sin), or the transpose of that map. Each of the pair has its own table entry.
template <bool transposed, class T>
void rotate(const T* __restrict x, const T* __restrict c, const T* __restrict s, T* __restrict y, std::int64_t dim) {
#pragma omp simd
  for (std::int64_t m = 0; m < dim / 2; ++m) {
    const T a = x[2 * m], b = x[2 * m + 1];
    if constexpr (transposed) {
      y[2 * m] = c[2 * m] * a + s[2 * m + 1] * b;
      y[2 * m + 1] = c[2 * m + 1] * b - s[2 * m] * a;
    } else {
      y[2 * m] = c[2 * m] * a - s[2 * m] * b;
      y[2 * m + 1] = c[2 * m + 1] * b + s[2 * m + 1] * a;
    }
  }
}

template <bool transposed, class T> void rope(const Rope<T>& r) {
  const std::int64_t width = r.heads * r.dim;
  parallel_for(r.rows, 9 * width, [&](std::int64_t row) {
    const T *x = r.x + row * 3 * width, *c = r.cos + row % r.tokens * r.dim, *s = r.sin + row % r.tokens * r.dim;
    T* y = r.y + row * 3 * width;
    for (std::int64_t h = 0; h < 2 * r.heads; ++h) rotate<transposed>(x + h * r.dim, c, s, y + h * r.dim, r.dim);
#pragma omp simd
    for (std::int64_t i = 2 * width; i < 3 * width; ++i) y[i] = x[i];
  });
}

}  // namespace

const RopeKernels& rope_kernels() {
  static constexpr RopeKernels table{{rope<false, float>, rope<true, float>}, {rope<false, double>, rope<true, double>}};
  return table;
}

}  // namespace fm::cpu::FM_ISA
