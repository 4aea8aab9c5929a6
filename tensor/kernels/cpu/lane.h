// The CPU's Lane. A Lane is the interface by which a row program reads and writes its row: on the CPU one thread with SIMD loops, on a GPU a warp
// with shuffles. Include it in kernel files only: it is in an anonymous namespace, so that its instantiations stay inside the object file.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "tensor/hd.h"

namespace fm::cpu {
namespace {

struct Lane {
  // f(0) + ... + f(n-1). The order of the additions depends on the instruction set, not on the number of threads. Partial sums of long
  // rows are added in double, so that the rounding error does not grow with the length of the row.
  template <class F> FM_HD auto sum(std::int64_t n, const F& f) const {
    using T = std::remove_cvref_t<decltype(f(0))>;
    constexpr std::int64_t block = 1024;
    double total = 0;
    for (std::int64_t begin = 0; begin < n; begin += block) {
      const std::int64_t end = n - begin < block ? n : begin + block;
      T part(0);
#pragma omp simd reduction(+ : part)
      for (std::int64_t i = begin; i < end; ++i) part += f(i);
      if (n <= block) return part;
      total += static_cast<double>(part);
    }
    return static_cast<T>(total);
  }

  template <class F> FM_HD auto max(std::int64_t n, const F& f) const {
    using T = std::remove_cvref_t<decltype(f(0))>;
    T largest = -std::numeric_limits<T>::infinity();
#pragma omp simd reduction(max : largest)
    for (std::int64_t i = 0; i < n; ++i) {
      const T x = f(i);
      largest = x > largest ? x : largest;
    }
    return largest;
  }

  // f(i) for each i, in any order: f may read and write element i of arrays, no other.
  template <class F> FM_HD void each(std::int64_t n, const F& f) const {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) f(i);
  }

  // f() writes a value that a row has once: if several threads share the row, only one calls f.
  template <class F> FM_HD void once(const F& f) const { f(); }
};

}  // namespace
}  // namespace fm::cpu
