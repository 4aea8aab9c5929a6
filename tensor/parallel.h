// One pool of threads (OpenMP's) for everything. Work is cut into pieces whose number does not depend on the number of threads, so results
// do not depend on it either.
#pragma once

#include <cstdint>

#define FM_INLINE __attribute__((always_inline)) inline

namespace fm {

namespace detail {

// The exception of the smallest i among the thrown ones. Out of line, so that kernels emit no code of <exception> of their own.
struct FirstException {
  alignas(void*) unsigned char exception[sizeof(void*)] = {};   // a std::exception_ptr once `any`
  std::int64_t at = 0;
  bool any = false;
  void keep(std::int64_t i) noexcept;                            // in a catch block of any thread
  [[noreturn]] void rethrow();
};

}  // namespace detail

// Calls f(i) for i in [0, n), on all threads if n * cost (in elementary operations) is worth a fork (some microseconds).
// If calls throw, every other i is still called, and when all threads have finished the caller gets the exception of the smallest i: the one
// that a plain loop would have thrown, whatever the number of threads.
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
