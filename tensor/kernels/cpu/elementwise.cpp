#include "tensor/kernels/cpu/elementwise.h"

#include "tensor/dual.h"
#include "tensor/parallel.h"

namespace fm::cpu::FM_ISA {
namespace {

// Calls f(i) for each i in a loop that vectorizes. If the loop finds far elements of x (Op::is_far), calls fix(i) for them afterwards.
template <class Op, class T, class F, class Fix> FM_INLINE void each(const T* x, std::int64_t n, const F& f, const Fix& fix) {
  if constexpr (has_far<Op, T>) {
    int far = 0;
#pragma omp simd reduction(| : far)
    for (std::int64_t i = 0; i < n; ++i) {
      f(i);
      far |= Op::is_far(x[i]) ? 1 : 0;
    }
    if (!far) return;
    for (std::int64_t i = 0; i < n; ++i)
      if (Op::is_far(x[i])) fix(i);
  } else {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) f(i);
  }
}

template <class Op, class T> FM_INLINE T slope_of(T saved) {
  if constexpr (saves_output<Op>) return Op::slope_from_output(saved);
  else return Op::slope(saved);
}

template <class Op, class T> void unary_value(const T* __restrict x, T* __restrict y, std::int64_t n) {
  each<Op>(x, n, [=](std::int64_t i) { y[i] = Op::value(x[i]); }, [=](std::int64_t i) { y[i] = value_anywhere<Op>(x[i]); });
}

template <class Op, class T> void unary_slope_times(const T* __restrict saved, const T* __restrict g, T* __restrict out, std::int64_t n) {
  each<Op>(saved, n, [=](std::int64_t i) { out[i] = slope_of<Op>(saved[i]) * g[i]; },
           [=](std::int64_t i) { out[i] = slope_anywhere<Op>(saved[i]) * g[i]; });
}

template <class Op, class T>
void unary_dual(const T* __restrict x, const T* __restrict dx, T* __restrict y, T* __restrict dy, std::int64_t n) {
  const auto both = [=](std::int64_t i) {
    const T value = Op::value(x[i]);
    y[i] = value;
    dy[i] = slope_of<Op>(saves_output<Op> ? value : x[i]) * dx[i];
  };
  each<Op>(x, n, both, [=](std::int64_t i) {
    y[i] = value_anywhere<Op>(x[i]);
    dy[i] = slope_anywhere<Op>(x[i]) * dx[i];
  });
}

template <class Op, class T>
void unary_curvature(const T* __restrict x, const T* __restrict dx, const T* __restrict g, T* __restrict out, std::int64_t n) {
  const auto second = [=](std::int64_t i) {
    const Dual<T> at{x[i], T(1)};
    Dual<T> slope;
    if constexpr (saves_output<Op>) slope = Op::slope_from_output(Op::value(at));
    else slope = Op::slope(at);
    out[i] = slope.d * dx[i] * g[i];
  };
  each<Op>(x, n, second, [=](std::int64_t i) { out[i] = curvature_anywhere<Op>(x[i]) * dx[i] * g[i]; });
}

template <class Op, class T>
void binary_value(const T* __restrict a, int stride_a, const T* __restrict b, int stride_b, T* __restrict y, std::int64_t n) {
  if (stride_a == 1 && stride_b == 1) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) y[i] = Op::value(a[i], b[i]);
  } else if (stride_a == 1) {
    const T right = b[0];
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) y[i] = Op::value(a[i], right);
  } else {
    const T left = a[0];
    for (std::int64_t i = 0; i < n; ++i) y[i] = Op::value(left, b[i * stride_b]);
  }
}

template <class T> void affine(const T* __restrict x, T scale, T shift, T* __restrict y, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) y[i] = scale * x[i] + shift;
}

template <class T> void axpy(T alpha, const T* __restrict x, T* __restrict y, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) y[i] += alpha * x[i];
}

template <class T> void select(const T* __restrict c, const T* __restrict a, const T* __restrict b, T* __restrict y, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) y[i] = c[i] != T(0) ? a[i] : b[i];
}

void widen(const bf16* __restrict x, float* __restrict y, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) y[i] = float(x[i]);
}

void narrow(const float* __restrict x, bf16* __restrict y, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) y[i].bits = bf16(x[i]).bits;   // assignments of whole structs would not vectorize
}

template <class T, class... Unary, class... Binary>
constexpr ElementwiseTable<T> make_table(OpList<Unary...>, OpList<Binary...>) {
  return {{{unary_value<Unary, T>, unary_slope_times<Unary, T>, unary_dual<Unary, T>, unary_curvature<Unary, T>}...},
          {binary_value<Binary, T>...},
          affine<T>,
          axpy<T>,
          select<T>};
}

}  // namespace

const ElementwiseKernels& elementwise_kernels() {
  static constexpr ElementwiseKernels table{make_table<float>(UnaryOps{}, BinaryOps{}), make_table<double>(UnaryOps{}, BinaryOps{}), widen,
                                            narrow};
  return table;
}

}  // namespace fm::cpu::FM_ISA
