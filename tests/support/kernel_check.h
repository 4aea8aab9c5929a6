// Helpers for tests of raw kernels: random arrays, largest difference, inner products, and a loop over the instruction sets of this
// machine.
#pragma once

#include <omp.h>

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "tensor/device.h"
#include "tensor/kernels/cpu/isa.h"
#include "tests/support/difference.h"

namespace fm::test {

template <class T> using Array = std::vector<T>;

// Uniform in [-1, 1), from a 64-bit linear congruential generator.
template <class T = double> Array<T> random_array(std::int64_t n, std::uint64_t seed) {
  Array<T> x(n);
  std::uint64_t s = seed * 0x9E3779B97F4A7C15ull + 1;
  for (T& v : x) {
    s = s * 6364136223846793005ull + 1442695040888963407ull;
    v = static_cast<T>(static_cast<double>(s >> 33) / (1ull << 30) - 1.0);
  }
  return x;
}

template <class To, class From> Array<To> cast(const Array<From>& x) { return Array<To>(x.begin(), x.end()); }

inline double dot(const Array<double>& a, const Array<double>& b) {
  double s = 0;
  for (std::size_t i = 0; i < a.size(); ++i) s += a[i] * b[i];
  return s;
}

inline Array<double> axpy(const Array<double>& x, double h, const Array<double>& dx) {
  Array<double> y = x;
  for (std::size_t i = 0; i < x.size(); ++i) y[i] += h * dx[i];
  return y;
}

// (f(+h) - f(-h)) / 2h with one Richardson step: error O(h^4).
template <class F> Array<double> central_difference(const F& f, double h = 1e-3) {
  const Array<double> a = f(h), b = f(-h), c = f(2 * h), d = f(-2 * h);
  Array<double> y(a.size());
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = (8 * (a[i] - b[i]) - (c[i] - d[i])) / (12 * h);
  return y;
}

// Restores the instruction set at the end of the scope, also if a check throws.
struct IsaScope {
  cpu::Isa before = cpu::active_isa();
  ~IsaScope() { cpu::set_active_isa(before); }
};

// Runs f(name) under every instruction set that this machine has, or once if operations run on a GPU.
template <class F> void each_isa(const F& f) {
  if (default_device().is_cuda()) {
    f(std::string("cuda"));
    return;
  }
  const IsaScope scope;
  for (cpu::Isa isa : {cpu::Isa::base, cpu::Isa::avx2, cpu::Isa::avx512}) {
    if (!cpu::isa_supported(isa)) continue;
    cpu::set_active_isa(isa);
    f(std::string(cpu::isa_name(isa)));
  }
}

// Whether f() returns the same bits with one, two and three threads.
template <class F> bool same_for_any_threads(const F& f) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  const auto one = f();
  bool same = true;
  for (int threads : {2, 3}) {
    omp_set_num_threads(threads);
    same = same && f() == one;
  }
  omp_set_num_threads(before);
  return same;
}

}  // namespace fm::test
