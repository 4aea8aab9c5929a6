// Prefetches the next piece of a sequence in the background while the caller works on the current one.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <system_error>

namespace fm {

// Pieces are rows first ... first + n - 1 of an endless sequence. One caller at a time.
template <class T>
class ReadAhead {
 public:
  // `make(first, n)` computes a piece; it is called from another thread while the caller works, so it must have no side effects.
  explicit ReadAhead(std::function<T(std::int64_t, std::int64_t)> make) : make_(std::move(make)) {}

  // Returns make(first, n), and starts to prefetch make(next, n), or make(first + n, n) if `next` is negative. The call is fast if its piece is the
  // prefetched one. Rethrows the exceptions of make.
  T take(std::int64_t first, std::int64_t n, std::int64_t next = -1) {
    T piece = next_.valid() && first == first_ && n == n_ ? next_.get() : make_(first, n);
    first_ = next >= 0 ? next : first + n, n_ = n;
    try {
      next_ = std::async(std::launch::async, [this, first = first_, n] { return make_(first, n); });
    } catch (const std::system_error&) {           // no thread could be started: the piece is made on request
      next_ = {};
    }
    return piece;
  }

 private:
  std::function<T(std::int64_t, std::int64_t)> make_;
  std::int64_t first_ = 0, n_ = 0;
  std::future<T> next_;  // the last member: its destructor waits for the thread, which uses the others
};

}  // namespace fm
