// Profiles: the counts of each entry, and their sum.
#include "tensor/profile.h"

#include <doctest/doctest.h>

#include <chrono>

#include "tensor/error.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/softmax.h"

using namespace fm;

TEST_CASE("floating-point operations and bytes are counted by phase, place and operation") {
  const Tensor a = Tensor::ones({3, 5}), b = Tensor::ones({5, 7});
  std::string place;
  Profile profile(place);
  matmul(a, b);
  {
    const ProfilePhase phase("backward");
    place = "blocks.1";
    matmul(a, b);
    tanh(a);
    softmax(a);
    softmax_push(a, a);
  }
  place = "";
  matmul(a, b);
  const auto& costs = profile.costs();
  const ProfileCost &first = costs.at({"forward", "", "matmul"}), &second = costs.at({"backward", "blocks.1", "matmul"});
  CHECK(first.calls == 2);
  CHECK(first.flops == 2 * 2 * 3 * 5 * 7);
  CHECK(first.bytes == 2 * 4 * (15 + 35 + 21));
  CHECK(second.flops == 2 * 3 * 5 * 7);
  CHECK(costs.at({"backward", "blocks.1", "tanh"}).bytes == 2 * 4 * 15);
  CHECK(costs.at({"backward", "blocks.1", "softmax"}).bytes == (2 + 3) * 4 * 15);
}

// The clock is read just outside and just inside the profiled part, so that the bounds hold however long this thread waits for a core.
TEST_CASE("the time of an inner operation is not counted in the outer one; all times add up to the total") {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::time_point from, Clock::time_point to) { return std::chrono::duration<double>(to - from).count(); };
  const std::string place;
  const auto start = Clock::now();
  Profile profile(place);
  const auto begun = Clock::now();
  Clock::time_point inside, until;
  {
    const OpName outer("outer");
    const OpName inner("inner");
    inside = Clock::now();
    for (int i = 0; i < 100; ++i) tanh(Tensor::ones({1000}));
    until = Clock::now();
  }
  const auto ended = Clock::now();
  const auto& costs = profile.costs();
  const auto over = Clock::now();
  double total = 0;
  for (const auto& [key, cost] : costs) total += cost.seconds;
  const double rounding = 1e-9;
  CHECK(total <= seconds(start, over) + rounding);
  CHECK(total >= seconds(begun, ended) - rounding);
  const auto of = [&](const char* op) { return costs.at({"forward", "", op}); };
  CHECK(of("outer").calls == 1);
  CHECK(of("inner").calls == 1);
  CHECK(of("tanh").calls == 100);
  CHECK(of("tanh").seconds > 0);
  CHECK(of("outer").seconds <= seconds(start, over) - seconds(inside, until) + rounding);
}

TEST_CASE("without a profile nothing is recorded; a second profile on the same thread is refused") {
  CHECK(Profile::current() == nullptr);
  count_work(1, 1);
  const std::string place;
  const Profile profile(place);
  CHECK_THROWS_WITH_AS(Profile second(place), "a Profile records on this thread already: end it before another begins", Error);
  CHECK(Profile::current() == &profile);
}
