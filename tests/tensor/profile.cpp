// Profiles: what is counted where, and that nothing is lost.
#include "tensor/profile.h"

#include <doctest/doctest.h>

#include <chrono>

#include "tensor/error.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"

using namespace fm;

TEST_CASE("products and traffic are counted under operation, phase and place") {
  const Tensor a = Tensor::ones({3, 5}), b = Tensor::ones({5, 7});
  std::string place;
  Profile profile(place);
  matmul(a, b);
  {
    const ProfilePhase phase("backward");
    place = "blocks.1";
    matmul(a, b);
    tanh(a);
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
}

TEST_CASE("an operation inside another is counted alone, and all seconds add up") {
  const std::string place;
  const auto start = std::chrono::steady_clock::now();
  Profile profile(place);
  {
    const OpName outer("outer");
    const OpName inner("inner");
    for (int i = 0; i < 100; ++i) tanh(Tensor::ones({1000}));
  }
  double total = 0;
  for (const auto& [key, cost] : profile.costs()) total += cost.seconds;
  const double passed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  CHECK(total <= passed);
  CHECK(total >= 0.9 * passed - 1e-4);
  CHECK(profile.costs().at({"forward", "", "outer"}).calls == 1);
  CHECK(profile.costs().at({"forward", "", "outer"}).seconds < 0.5 * passed);
}

TEST_CASE("without a profile nothing is recorded, and there is one at a time") {
  CHECK(Profile::current() == nullptr);
  count_work(1, 1);
  const std::string place;
  const Profile profile(place);
  CHECK_THROWS_WITH_AS(Profile second(place), "a Profile records on this thread already", Error);
  CHECK(Profile::current() == &profile);
}
