// Curves of metrics.csv as reports show them, and run.json in words. Expected values are computed by hand.
#include <doctest/doctest.h>

#include <cmath>
#include <ctime>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "data/report/metric_plot.h"
#include "data/report/sessions.h"
#include "data/report/training_report.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr double absent = std::numeric_limits<double>::quiet_NaN();
using Values = std::vector<double>;

Curve curve_of(int n, const std::function<double(int)>& f) {
  Curve curve{.name = "c"};
  for (int i = 0; i < n; ++i) curve.x.push_back(i), curve.y.push_back(f(i));
  return curve;
}

}  // namespace

TEST_CASE("a window has mean, minimum, maximum and the 10 % and 90 % quantiles of the points around its center") {
  const Curve w = windowed({.name = "c", .x = {1, 2, 3, 4, 5}, .y = {1, 2, 6, 3, 8}}, 3, "mean");
  CHECK(w.name == "mean");
  CHECK(w.x == Values{1, 2, 3, 4, 5});
  const Values means{1.5, 3, 11.0 / 3, 17.0 / 3, 5.5};
  for (std::size_t i = 0; i < 5; ++i) CHECK(near(w.y[i], means[i], 1e-15));
  REQUIRE(w.bands.size() == 2);
  CHECK(w.bands[0].low == Values{1, 1, 2, 3, 3});
  CHECK(w.bands[0].high == Values{2, 6, 6, 8, 8});
  const Values low{1.1, 1.2, 2.2, 3.6, 3.5}, high{1.9, 5.2, 5.4, 7.6, 7.5};      // quantiles of 10 % and 90 %, interpolated
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(near(w.bands[1].low[i], low[i], 1e-14));
    CHECK(near(w.bands[1].high[i], high[i], 1e-14));
  }
  CHECK(windowed({.name = "c", .x = {1, 2, 3}, .y = {1, 2, 6}}, 2, "").y == windowed({.name = "c", .x = {1, 2, 3}, .y = {1, 2, 6}}, 3, "").y);
  CHECK(windowed({.name = "c", .x = {1, 2}, .y = {1, 7}}, 1, "").y == Values{1, 7});
}

TEST_CASE("a window leaves out values that are not finite, and is a gap if there are no others") {
  const Curve w = windowed({.name = "c", .x = {1, 2, 3, 4, 5}, .y = {1, INFINITY, 3, absent, absent}}, 3, "");
  CHECK(w.y[0] == 1);
  CHECK(w.y[1] == 2);
  CHECK(w.y[2] == 3);
  CHECK(w.bands[0].high[1] == 3);
  CHECK(std::isnan(w.y[4]));
  CHECK(std::isnan(w.bands[1].low[4]));
  CHECK(windowed({.name = "c"}, 3, "").y.empty());
}

TEST_CASE("a long curve has 240 windows from the first point to the last, and no value lies outside of the bands") {
  const auto y = [](int i) { return i == 7777 ? 100 : std::sin(i * 0.7); };
  const Curve whole = curve_of(20000, y), w = windowed(whole, metric_window(20000), "");
  REQUIRE(w.x.size() == 240);
  CHECK(w.x.front() == 0);
  CHECK(w.x.back() == 19999);
  for (std::size_t k = 1; k < 240; ++k) CHECK(std::abs(w.x[k] - w.x[k - 1] - 19999.0 / 239) <= 1);
  double highest = 0;
  for (std::size_t k = 0; k < 240; ++k) {
    highest = std::max(highest, w.bands[0].high[k]);
    CHECK(w.bands[0].low[k] <= w.bands[1].low[k]);
    CHECK(w.bands[1].low[k] <= w.y[k]);
    CHECK(w.bands[1].high[k] <= w.bands[0].high[k]);
  }
  CHECK(highest == 100);                                                       // a lone peak stays visible
  CHECK(metric_window(30) == 1);
  CHECK(metric_window(31) == 5);
  CHECK(metric_window(120) == 9);
  CHECK(metric_window(3000) == 201);
}

TEST_CASE("metric columns are ordered by importance and have titles with units") {
  CHECK(metrics_in_order({"step", "time", "loss", "grad_norm", "lr", "own", "raw_mse", "memory_mib", "", "other"}) ==
        std::vector<std::string>{"raw_mse", "loss", "grad_norm", "own", "other", "lr", "memory_mib"});
  CHECK(metrics_in_order({"step", "time"}).empty());
  CHECK(metric_title("raw_mse") == "mean square error before the metric");
  CHECK(metric_title("memory_mib") == "memory of the process (MiB)");
  CHECK(metric_title("my_own_number") == "my own number");
}

TEST_CASE("a metric plot has points or windows, a log axis above a factor of 30, and a wide range if values hardly change") {
  const auto plot = [](int n, const std::function<double(int)>& f) { return metric_plot("raw_mse", {curve_of(n, f)}); };
  const Plot few = plot(30, [](int i) { return i; }), many = plot(31, [](int i) { return i; });
  CHECK(few.curves[0].markers);
  CHECK(few.curves[0].bands.empty());
  CHECK_FALSE(many.curves[0].markers);
  CHECK(many.curves[0].bands.size() == 2);
  CHECK(many.curves[0].y[2] == 2);
  CHECK(many.curves[0].y[0] == 1);                                             // the mean of 0, 1 and 2
  CHECK(few.y_label == "raw_mse");
  CHECK(few.x_label == "step");
  CHECK(plot(2, [](int i) { return i == 0 ? 1 : 31; }).log_y);
  CHECK_FALSE(plot(2, [](int i) { return i == 0 ? 1 : 30; }).log_y);
  CHECK_FALSE(plot(2, [](int i) { return i == 0 ? 0 : 31; }).log_y);
  const Plot held = plot(2, [](int i) { return i == 0 ? 340.497 : 340.501; });
  CHECK(near(held.y_low, 340.497 - 17.02505, 1e-9));
  CHECK(near(held.y_high, 340.501 + 17.02505, 1e-9));
  const Plot moves = plot(2, [](int i) { return i == 0 ? 340.0 : 341.0; });
  CHECK(moves.y_low == moves.y_high);
  const Plot two = metric_plot("loss", {curve_of(31, [](int i) { return i; }), curve_of(3, [](int i) { return i; })});
  REQUIRE(two.curves.size() == 2);
  CHECK(two.curves[0].bands.size() == 1);
  CHECK(two.curves[0].bands[0].low[4] > 2);                                    // the band of the quantiles, not that of lowest and highest
  CHECK(two.curves[1].bands.empty());
  CHECK(is_constant(curve_of(3, [](int) { return 2; })));
  CHECK_FALSE(is_constant(curve_of(3, [](int i) { return i == 2 ? 2.5 : 2; })));
  CHECK_FALSE(is_constant({.name = "none"}));
}

TEST_CASE("run.json is described in words: machine, build, command line, sessions and their total time") {
  const TempFolder folder;
  write_atomically(folder / "run.json", R"({"sessions": [
    {"started": "2026-01-31 12:34:56", "ended": "2026-01-31 12:36:06", "command_line": ["./flowmap_train", "fm", "--set", "a=b c", "", "it's"], "version": "0.1.0",
     "git": "1a2b", "compiler": "gcc 12", "build_flags": "optimization=2", "host": "vm", "cpu": "EPYC", "cores": 2, "instructions": "avx512", "device": "cpu",
     "threads": 1, "ranks": 1, "seed": 7, "resumed_from_step": null, "exit_code": 75, "last_step": 100},
    {"started": "2026-01-31 13:00:00", "resumed_from_step": 100}, "no session"]})");
  const std::vector<Session> sessions = read_sessions(folder / "run.json");
  REQUIRE(sessions.size() == 2);
  const Session& s = sessions[0];
  CHECK(machine_text(s) == "on vm: EPYC with 2 cores (avx512), 1 thread; device cpu");
  CHECK(build_text(s) == "flowmap 0.1.0 of git 1a2b, gcc 12, optimization=2");
  CHECK(command_text(s) == "./flowmap_train fm --set 'a=b c' '' 'it'\\''s'");
  CHECK(session_text(s) == "started 2026-01-31 12:34:56, ended 2026-01-31 12:36:06 at step 100 with exit code 75 after 1:10");
  CHECK(has(session_text(sessions[1]), "started 2026-01-31 13:00:00, resumed from step 100, no end is recorded"));
  CHECK(machine_text({}).empty());
  CHECK(build_text({}).empty());
  CHECK(seconds_of({s}, absent) == 70);
  CHECK(seconds_of(sessions, absent) == 70);
  CHECK(seconds_of(sessions, 0) == 70);                                        // a row from before the start belongs to another session
  std::tm time{};
  strptime("2026-01-31 13:01:30", "%Y-%m-%d %H:%M:%S", &time);
  time.tm_isdst = -1;
  CHECK(seconds_of(sessions, static_cast<double>(std::mktime(&time))) == 70 + 90);
  CHECK(std::isnan(seconds_of({}, 0)));
  for (const char* json : {"{", "[]", "{}", R"({"sessions": 3})"}) {
    write_atomically(folder / "run.json", json);
    CHECK(read_sessions(folder / "run.json").empty());
  }
  CHECK(read_sessions(folder / "none.json").empty());
}

TEST_CASE("a stage's report links to the run's report if that exists, and shows samples of at most eight steps") {
  const TempFolder folder;
  std::filesystem::create_directories(folder / "fm/samples");
  for (int i = 10; i < 40; ++i) write_atomically(folder / "fm/samples" / ("step-" + std::to_string(i) + ".png"), "x");
  const auto report = [&] {
    write_training_report(folder / "fm", "fm");
    return read_file(folder / "fm/report.html");
  };
  const std::string alone = report();
  CHECK_FALSE(has(alone, "href="));
  std::size_t steps = 0;
  for (int i = 10; i < 40; ++i) steps += has(alone, "<figcaption>step-" + std::to_string(i) + "</figcaption>");
  CHECK(steps == 8);
  CHECK(has(alone, "<figcaption>step-10</figcaption>"));
  CHECK(has(alone, "<figcaption>step-39</figcaption>"));
  write_atomically(folder / "report.html", "the run's");
  CHECK(has(report(), "<a href=\"../report.html\">"));
}
