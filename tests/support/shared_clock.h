// A clock that stands still until a test moves it, for threads that count seconds: it advances only when each of them has read it often
// enough to have done all the work of a turn. So no test waits for real seconds, or fails because the machine is busy.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

namespace fm::test {

class SharedClock {
 public:
  explicit SharedClock(int readers) : looks_(static_cast<std::size_t>(readers)) {}

  std::function<double()> of(int reader) {
    return [this, reader] {
      const std::lock_guard lock(mutex_);
      ++looks_[static_cast<std::size_t>(reader)];
      looked_.notify_all();
      return now_;
    };
  }
  // Advances once each of these readers has read the clock 20 times since the last advance, or done() holds.
  void advance(double seconds, const std::vector<int>& readers, const std::function<bool()>& done) {
    std::unique_lock lock(mutex_);
    const auto all = [&] {
      for (int r : readers)
        if (looks_[static_cast<std::size_t>(r)] < 20) return false;
      return true;
    };
    looked_.wait(lock, [&] { return all() || done(); });
    for (int& n : looks_) n = 0;
    now_ += seconds;
  }
  double now() {
    const std::lock_guard lock(mutex_);
    return now_;
  }
  void wake() {
    const std::lock_guard lock(mutex_);
    looked_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable looked_;
  std::vector<int> looks_;
  double now_ = 1000;
};

}  // namespace fm::test
