// LoopWatch: warnings and stops, the mean of the best checkpoint, rewinds with half the rate, and its state in checkpoints.
#include "nn/training/watch.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using fm::test::error_of;
using fm::test::has;
using fm::test::near;

namespace {

using Json = nlohmann::ordered_json;

struct Listener : LoopObserver {
  std::vector<std::string> warned;
  void warning(const std::string& line) override { warned.push_back(line); }
};

LoopNumbers numbers(double loss, double norm = 1) { return {{"loss", loss}, {"grad_norm", norm}, {"lr", 0.1}}; }

// 20 calm steps, then three with gradient norm `norm`: at step 23 the guard reports an explosion that began at step 21.
void explode(LoopWatch& watch, double norm = 50) {
  for (int step = 1; step <= 20; ++step) watch.observe(step, numbers(1), true);
  for (int step = 21; step <= 23; ++step) watch.observe(step, numbers(1, norm), true);
}

}  // namespace

TEST_CASE("watch: an explosion gives a warning with remedies, or an error with the step where it began") {
  Listener heard;
  LoopWatch warns("fm", {}, [](const std::string& number) { return "less " + number; }, heard);
  explode(warns);
  REQUIRE(heard.warned.size() == 1);
  CHECK(has(heard.warned[0], "fm: step 23: grad_norm 50 is 50 times"));
  CHECK(has(heard.warned[0], "likely remedies: less grad_norm (--on-explosion stop or rewind acts on it)"));
  CHECK(warns.explosions() == 1);
  CHECK_FALSE(warns.calm());
  CHECK_FALSE(warns.rewinds());
  for (const char* answer : {"stop", "rewind"}) {
    Listener silent;
    LoopWatch acts("fm", {.on_explosion = answer}, {}, silent);
    CHECK(acts.calm());
    CHECK(acts.rewinds() == (std::string(answer) == "rewind"));
    std::int64_t began = 0;
    try {
      explode(acts);
    } catch (const ExplodedError& e) {
      began = e.began;
      CHECK(has(e.what(), "a lower rate.peak, a longer rate.warmup_steps, adamw.clip = 1"));
    }
    CHECK(began == 21);
    CHECK(silent.warned.empty());
    CHECK(acts.explosions() == 1);
  }
  Listener calm;
  LoopWatch patient("fm", {.explosion_factor = 60}, {}, calm);
  explode(patient);
  CHECK(calm.warned.empty());
}

TEST_CASE("watch: the best checkpoint is the one with the lowest mean since the checkpoint before") {
  Listener heard;
  LoopWatch watch("fm", {.keep_best = "loss"}, {}, heard);
  CHECK_FALSE(watch.is_best(0));                                   // there is no mean without numbers
  CHECK_FALSE(watch.state().contains("best"));
  watch.observe(1, numbers(3), true), watch.observe(2, numbers(1), true);
  CHECK(watch.is_best(2));
  CHECK(watch.state()["best"] == Json{{"number", "loss"}, {"mean", 2.0}, {"step", 2}});
  CHECK_FALSE(watch.is_best(0));                                   // the mean begins anew
  watch.observe(3, numbers(2), true);
  CHECK_FALSE(watch.is_best(0));                                   // an equal mean is not better
  watch.observe(4, numbers(1.5), true), watch.observe(5, numbers(2.25), true);
  CHECK(watch.is_best(0));
  const Json state = Json::parse(watch.state().dump());
  LoopWatch resumed("fm", {.keep_best = "loss"}, {}, heard), other("fm", {.keep_best = "grad_norm"}, {}, heard);
  resumed.restore(state), other.restore(state);
  resumed.observe(6, numbers(1.9), true), other.observe(6, numbers(1.9), true);
  CHECK_FALSE(resumed.is_best(0));
  CHECK(other.is_best(0));                                         // another number has no history
  CHECK(resumed.state()["best"] == state["best"]);
  resumed.observe(7, numbers(1.8), true);
  CHECK(resumed.is_best(7));
  LoopWatch without("fm", {}, {}, heard);                         // a training without keep_best in between forgets nothing
  without.restore(state);
  without.observe(6, numbers(0.1), true);
  CHECK_FALSE(without.is_best(6));
  CHECK(without.state()["best"] == state["best"]);
  LoopWatch lacking("fm", {.keep_best = "fid"}, {}, heard);
  CHECK_NOTHROW(lacking.observe(1, numbers(1), false));
  CHECK(error_of<ConfigError>([&] { lacking.observe(2, numbers(1), true); }) == "--keep-best fid: stage fm has no such column, only loss, grad_norm, lr");
}

TEST_CASE("watch: a score that is undefined at one step is not the best, and one that no step had is an error") {
  Listener heard;
  const auto watch = [&] {
    LoopWatch w("fm", {.keep_best = "fid"}, {}, heard);
    w.set_scores({"fid", "kid"}, {});
    return w;
  };
  LoopWatch lacking = watch(), scored = watch(), resumed = watch();
  CHECK(has(error_of<ConfigError>([&] { lacking.take_scores({{"kid", 1.0}}); }), "--keep-best fid: stage fm has no such score"));
  scored.take_scores({{"fid", 3.0}});
  CHECK_NOTHROW(scored.take_scores({{"kid", 1.0}}));                // also before any checkpoint
  scored.take_scores({{"fid", 3.0}});
  CHECK(scored.is_best(1));
  scored.take_scores({{"kid", 1.0}});
  CHECK_FALSE(scored.is_best(2));
  resumed.restore(Json::parse(scored.state().dump()));
  CHECK_NOTHROW(resumed.take_scores({{"kid", 1.0}}));
  CHECK_FALSE(resumed.is_best(3));
}

TEST_CASE("watch: the largest norm since it was last read is kept across a checkpoint") {
  Listener heard;
  LoopWatch watch("fm", {}, {}, heard), resumed("fm", {}, {}, heard);
  watch.saw_norm(3), watch.saw_norm(7), watch.saw_norm(2);
  resumed.saw_norm(99);
  resumed.restore(watch.state());
  resumed.saw_norm(5);
  CHECK(resumed.take_largest_norm() == 7);
  CHECK(resumed.take_largest_norm() == 0);
  CHECK_FALSE(resumed.state().contains("largest_norm"));           // no norm since the last line of the log
  CHECK(watch.take_largest_norm() == 7);
}

TEST_CASE("watch: a restored state replaces all that was before; an empty state resets") {
  Listener heard;
  LoopWatch watch("fm", {.on_explosion = "rewind", .keep_best = "loss"}, {}, heard);
  CHECK_THROWS_AS(explode(watch), ExplodedError);
  CHECK(watch.is_best(0));
  watch.observe(24, numbers(8), true);
  watch.rewind(12, Json());
  CHECK(watch.state()["rewound"] == 1);
  watch.observe(24, numbers(8), true);
  watch.restore(Json());
  CHECK(watch.explosions() == 0);
  CHECK(watch.rate_scale() == 1);
  CHECK(watch.rewound_to() == -1);
  CHECK(watch.calm());
  CHECK_FALSE(watch.state().contains("rewound"));
  CHECK_FALSE(watch.state().contains("best"));
  CHECK(watch.state()["explosions"] == 0);
  CHECK_FALSE(watch.is_best(0));                                   // the restored state has no numbers
  watch.observe(1, numbers(4), true);
  CHECK(watch.is_best(0));
  CHECK(watch.state()["best"]["mean"] == 4.0);
  for (const char* bad : {R"({"explosions": 1})", R"({"guard": {}})", R"({"guard": {}, "explosions": 0, "rewound": 1})", R"({"guard": {}, "explosions": "x"})"})
    CHECK(has(error_of<FileError>([&] { watch.restore(Json::parse(bad)); }), "fm: state.json of the checkpoint: the entry watch is invalid: "));
}

TEST_CASE("watch: each rewind halves the rate and is counted, and there are at most five") {
  Listener heard;
  LoopWatch watch("fm", {.on_explosion = "rewind"}, {}, heard);
  CHECK_THROWS_AS(explode(watch), ExplodedError);
  for (int n = 1; n <= 5; ++n) {
    watch.rewind(10 * n, Json::parse(R"({"guard": {}, "explosions": 0, "calm": true})"));
    CHECK(watch.rate_scale() == std::pow(0.5, n));
    CHECK(watch.rewound_to() == 10 * n);
    CHECK(watch.explosions() == 1);                                // counted explosions stay counted
    CHECK(watch.calm());
    const Json state = Json::parse(watch.state().dump());
    CHECK((state["rewound"] == n && state["rewound_to"] == 10 * n && state["rate_scale"] == std::pow(0.5, n)));
    LoopWatch resumed("fm", {.on_explosion = "rewind"}, {}, heard);
    resumed.restore(state);
    CHECK((resumed.rate_scale() == watch.rate_scale() && resumed.rewound_to() == 10 * n && resumed.explosions() == 1));
  }
  CHECK(has(error_of<DivergedError>([&] { watch.rewind(1, Json()); }), "fm: explodes again after 5 rewinds, each with half the learning rate"));
}

TEST_CASE("watch: a number far above its median before the checkpoint is reported once, at the first step after it") {
  Listener heard;
  LoopWatch before("fm", {}, {}, heard);
  for (int step = 1; step <= 7; ++step) before.observe(step, numbers(2), true);      // fewer steps than the guard needs
  const auto resumed = [&](const WatchConfig& config) {
    LoopWatch watch("fm", config, {}, heard);
    watch.restore(before.state());
    watch.resumed("go back");
    return watch;
  };
  LoopWatch just = resumed({});
  just.observe(8, numbers(2000), true);
  CHECK(heard.warned.empty());                                     // exactly a thousand times the median is not above it
  LoopWatch watch = resumed({});
  watch.observe(8, numbers(2001), true);
  REQUIRE(heard.warned.size() == 1);
  CHECK(heard.warned[0] ==
        "fm: step 8: loss is 2001, and its median before the checkpoint that training resumed from was 2: the checkpoint already contains the explosion: go back");
  CHECK(watch.explosions() == 1);
  watch.observe(9, numbers(1e9), true);
  CHECK(heard.warned.size() == 1);
  LoopWatch stops = resumed({.on_explosion = "stop"});
  CHECK_THROWS_AS(stops.observe(8, numbers(2, 1001), true), ExplodedError);
  LoopWatch fresh("fm", {.on_explosion = "stop"}, {}, heard);      // a checkpoint of an older version without the state
  fresh.restore(Json());
  fresh.resumed("go back");
  CHECK_NOTHROW(fresh.observe(1, numbers(1e9), true));
}

TEST_CASE("watch: with an adaptive metric the loss stays near 1, and the jump is found in the residual") {
  Listener heard;
  const auto adaptive = [](double raw) { return LoopNumbers{{"loss", 1}, {"grad_norm", 1}, {"raw_mse", raw}}; };
  LoopWatch before("mfd", {}, {}, heard), after("mfd", {}, {}, heard);
  before.observe(1, adaptive(0.5), true);
  after.restore(before.state());
  after.resumed("go back");
  after.observe(2, adaptive(501), true);
  REQUIRE(heard.warned.size() == 1);
  CHECK(has(heard.warned[0], "mfd: step 2: raw_mse is 501, and its median"));
}
