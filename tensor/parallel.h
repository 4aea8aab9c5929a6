// One pool of threads (OpenMP's) for everything. Work is cut into pieces whose number does not depend on the number of threads, so results
// do not depend on it either.
#pragma once

#include <cstdint>

#define FM_INLINE __attribute__((always_inline)) inline

namespace fm {

namespace detail {

// Keeps the exception that was thrown for the smallest i. Its functions are out of line, so that kernels contain no code of <exception>.
struct FirstException {
  alignas(void*) unsigned char exception[sizeof(void*)] = {};   // a std::exception_ptr once `any` is true
  std::int64_t at = 0;
  bool any = false;
  void keep(std::int64_t i) noexcept;                            // called in a catch block, on any thread
  [[noreturn]] void rethrow();
};

}  // namespace detail

// Calls f(i) for i in [0, n), on all threads if n * cost (in elementary operations) is worth a fork (some microseconds).
// If f(i) throws, f is still called for every other i. Then parallel_for throws the exception of the smallest i, which a plain loop would have
// thrown, whatever the number of threads.
template <class F>
FM_INLINE void parallel_for(std::int64_t n, std::int64_t cost, const F& f) {
  const bool worth = n > 1 && n * cost > 32768;
  detail::FirstException first;
#pragma omp parallel for schedule(static) if (worth)
  for (std::int64_t i = 0; i < n; ++i) {
    try {
      f(i);
    } catch (...) {
      first.keep(i);
    }
  }
  if (first.any) first.rethrow();
}

}  // namespace fm
