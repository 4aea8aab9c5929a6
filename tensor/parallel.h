// One pool of threads (OpenMP's) for everything. Work is cut into pieces whose number does not depend on the number of threads, so results
// do not depend on it either.
#pragma once

#include <cstdint>

#define FM_INLINE __attribute__((always_inline)) inline

namespace fm {

// Calls f(i) for i in [0, n), on all threads when n * cost (in elementary operations) is worth a fork (some microseconds).
template <class F>
FM_INLINE void parallel_for(std::int64_t n, std::int64_t cost, const F& f) {
  const bool worth = n > 1 && n * cost > 32768;
#pragma omp parallel for schedule(static) if (worth)
  for (std::int64_t i = 0; i < n; ++i) f(i);
}

}  // namespace fm
