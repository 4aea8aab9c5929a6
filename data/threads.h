// A few threads for work that goes on beside training's own (OpenMP's): reading and decoding.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace fm {

// Calls f(0) ... f(n - 1) on `workers` threads; afterwards throws what the first i that failed threw.
template <class F>
void on_threads(std::int64_t n, std::int64_t workers, const F& f) {
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(n));
  std::atomic<std::int64_t> next = 0;
  const auto work = [&] {
    for (std::int64_t i; (i = next++) < n;) {
      try {
        f(i);
      } catch (...) {
        errors[static_cast<std::size_t>(i)] = std::current_exception();
      }
    }
  };
  std::vector<std::thread> threads;
  for (std::int64_t t = 1; t < std::min(workers, n); ++t) threads.emplace_back(work);
  work();
  for (std::thread& t : threads) t.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace fm
