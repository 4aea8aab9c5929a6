// parallel_for: every index once, and the handling of exceptions.
#include "tensor/parallel.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

using fm::parallel_for;

namespace {

struct Threads {
  int before = omp_get_max_threads();
  explicit Threads(int n) { omp_set_num_threads(n); }
  ~Threads() { omp_set_num_threads(before); }
};

constexpr std::int64_t costly = 1 << 20;           // worth a fork

template <class F> std::string thrown(const F& f) {
  try {
    f();
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "nothing";
}

}  // namespace

TEST_CASE("parallel_for calls its function once for every index") {
  for (const int threads : {1, 2, 3, 8}) {
    const Threads scope(threads);
    for (const std::int64_t n : {0, 1, 2, 7, 100}) {
      std::vector<std::atomic<int>> calls(static_cast<std::size_t>(n));
      parallel_for(n, costly, [&](std::int64_t i) { ++calls[static_cast<std::size_t>(i)]; });
      for (const auto& c : calls) CHECK(c == 1);
    }
  }
}

TEST_CASE("parallel_for throws the exception of the smallest index, after calling every other index") {
  for (const int threads : {1, 2, 3, 8})
    for (const std::int64_t cost : {std::int64_t{1}, costly}) {
      CAPTURE(threads);
      CAPTURE(cost);
      const Threads scope(threads);
      std::vector<std::atomic<int>> calls(100);
      const auto run = [&] {
        parallel_for(100, cost, [&](std::int64_t i) {
          ++calls[static_cast<std::size_t>(i)];
          if (i % 10 == 7) throw std::runtime_error("at " + std::to_string(i));
        });
      };
      CHECK(thrown(run) == "at 7");
      for (const auto& c : calls) CHECK(c == 1);
      CHECK(thrown(run) == "at 7");                 // again: no state is left from the first call
    }
}

TEST_CASE("exceptions of the last index, of any type and from a nested parallel_for reach the caller") {
  const Threads scope(3);
  CHECK(thrown([] { parallel_for(50, costly, [](std::int64_t i) { if (i == 49) throw std::runtime_error("last"); }); }) == "last");
  CHECK_THROWS_AS(parallel_for(50, costly, [](std::int64_t i) { if (i > 3) throw i; }), std::int64_t);
  CHECK(thrown([] {
          parallel_for(4, costly, [](std::int64_t i) {
            parallel_for(4, costly, [i](std::int64_t j) { if (i + j == 5) throw std::runtime_error(std::to_string(i) + " " + std::to_string(j)); });
          });
        }) == "2 3");
}

TEST_CASE("parallel_for destroys each thrown object") {
  struct Counted {
    std::atomic<int>* alive;
    explicit Counted(std::atomic<int>* a) : alive(a) { ++*alive; }
    Counted(const Counted& o) : alive(o.alive) { ++*alive; }
    ~Counted() { --*alive; }
  };
  std::atomic<int> alive{0};
  const Threads scope(3);
  for (int k = 0; k < 3; ++k) {
    try {
      parallel_for(30, costly, [&](std::int64_t) { throw Counted(&alive); });
    } catch (const Counted&) {
    }
  }
  CHECK(alive == 0);
}
