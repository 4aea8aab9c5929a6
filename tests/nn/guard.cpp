// The guard against explosions: when it raises an alarm, when it does not, and the same alarms after a resume.
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/training/guard.h"
#include "tensor/error.h"
#include "tests/support/text.h"

using namespace fm;

namespace {

using Numbers = std::vector<std::pair<std::string, double>>;
constexpr double inf = std::numeric_limits<double>::infinity();

// Returns the steps at which a sequence of values of one number raises an alarm.
std::vector<std::int64_t> alarms(ExplosionGuard& guard, const std::string& name, const std::vector<double>& values) {
  std::vector<std::int64_t> out;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (guard.observe(static_cast<std::int64_t>(i) + 1, {{name, values[i]}})) out.push_back(static_cast<std::int64_t>(i) + 1);
  return out;
}

std::vector<double> level(double value, int n) { return std::vector<double>(static_cast<std::size_t>(n), value); }
std::vector<double> operator+(std::vector<double> a, const std::vector<double>& b) { return a.insert(a.end(), b.begin(), b.end()), a; }

}  // namespace

TEST_CASE("guard: three steps in a row above ten times the median give one alarm for each episode") {
  ExplosionGuard guard;
  CHECK(alarms(guard, "grad_norm", level(1, 20) + level(10.1, 2)).empty());
  CHECK(!guard.calm());
  const auto alarm = guard.observe(23, {{"grad_norm", 30.0}});
  REQUIRE(alarm);
  CHECK(alarm->median == 1);
  CHECK(alarm->began == 21);
  CHECK(alarm->step == 23);
  CHECK(fm::test::has(alarm_text("mfd", *alarm, 10, "a test"), "grad_norm 30 is 30 times its running median 1 (more than 10) for 3 steps in a row: training is exploding; likely remedies: a test"));
  CHECK(alarms(guard, "grad_norm", level(1e9, 500)).empty());        // reported once
  CHECK(alarms(guard, "grad_norm", level(1, 19) + level(50, 3)).empty());
  CHECK(alarms(guard, "grad_norm", level(1, 20) + level(50, 3)) == std::vector<std::int64_t>{23});
}

TEST_CASE("guard: no alarm below ten times the median, after two steps, at the start, or where a small ratio grows") {
  ExplosionGuard a, b, c, d;
  CHECK(alarms(a, "raw_mse", level(1, 30) + level(9.9, 100)).empty());
  CHECK(alarms(b, "raw_mse", level(1, 30) + level(99, 2) + level(1, 1) + level(99, 2)).empty());
  CHECK(alarms(c, "raw_mse", level(1, 5) + level(99, 100)).empty());         // the history is too short at first, and later the high values are the median
  CHECK(alarms(d, "derivative_ratio", level(0.001, 30) + level(9, 100)).empty());
  CHECK(alarms(d, "derivative_ratio", level(300, 3)).size() == 1);
}

TEST_CASE("guard: raw_mse is watched instead of the loss if there is one") {
  const Numbers calm{{"raw_mse", 1}, {"loss", 1}, {"lr", 1}, {"grad_norm", 1}}, loss{{"raw_mse", 1}, {"loss", 100}, {"lr", 100}, {"grad_norm", 1}};
  ExplosionGuard guard, no_raw;
  for (int i = 0; i < 30; ++i) guard.observe(i, calm), no_raw.observe(i, {{"loss", 1}});
  for (int i = 0; i < 10; ++i) CHECK(!guard.observe(30 + i, loss));
  CHECK(guard.calm());
  int said = 0;
  for (int i = 0; i < 3; ++i) said += no_raw.observe(30 + i, {{"loss", inf}}).has_value();
  CHECK(said == 1);
}

TEST_CASE("guard: restored from a checkpoint, it gives the same alarms at the same steps") {
  const std::vector<double> before = level(1, 25) + level(20, 2), after = level(20, 3) + level(1, 30) + level(40, 5);
  ExplosionGuard whole, first;
  alarms(whole, "raw_mse", before), alarms(first, "raw_mse", before);
  ExplosionGuard second;
  second.restore(nlohmann::ordered_json::parse(first.state().dump()));
  const auto wanted = alarms(whole, "raw_mse", after);
  CHECK(wanted == std::vector<std::int64_t>{1, 36});
  CHECK(alarms(second, "raw_mse", after) == wanted);
  CHECK_THROWS_AS(second.restore(nlohmann::ordered_json::parse(R"({"raw_mse": {"history": 3}})")), FileError);
}
