// A few threads for work beside the training's own threads (OpenMP): reading and decoding.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#include "tensor/interrupt.h"

namespace fm {

// Calls f(0) ... f(n - 1) on `workers` threads; afterwards rethrows the exception of the first failed i. If the system starts no further thread,
// the existing ones do the work. Ends early if check_interrupt() throws (tensor/interrupt.h).
template <class F>
void on_threads(std::int64_t n, std::int64_t workers, const F& f) {
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(n));
  std::atomic<std::int64_t> next = 0;
  std::exception_ptr interrupted;
  const auto interrupt = [&] {         // true: the caller's thread must end
    try {
      check_interrupt();
    } catch (...) {
      interrupted = std::current_exception();
      next = n;
    }
    return interrupted != nullptr;
  };
  const std::thread::id caller = std::this_thread::get_id();
  const auto work = [&] {
    for (std::int64_t i; (i = next++) < n;) {
      if (std::this_thread::get_id() == caller && interrupt()) return;
      try {
        f(i);
      } catch (...) {
        errors[static_cast<std::size_t>(i)] = std::current_exception();
      }
    }
  };
  std::vector<std::thread> threads;
  try {
    for (std::int64_t t = 1; t < std::min(workers, n); ++t) threads.emplace_back(work);
  } catch (const std::system_error&) {
  }
  work();
  for (std::thread& t : threads) t.join();
  if (interrupted) std::rethrow_exception(interrupted);
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace fm
