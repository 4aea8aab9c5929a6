// Numbers as text, the progress line, and the logger.
#include "apps/cli/progress.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>

#include "apps/cli/text.h"
#include "data/report/numbers.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/memory/machine_memory.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"

using namespace fm;
using fm::test::near;

TEST_CASE("durations, bytes and rates have the expected text") {
  CHECK(duration_text(7) == "0:07");
  CHECK(duration_text(22 * 60 + 5) == "22:05");
  CHECK(duration_text(3600 + 2 * 60 + 3) == "1:02:03");
  CHECK(duration_text(3 * 86400 + 4 * 3600 + 5 * 60 + 6) == "3d 04:05:06");
  CHECK(duration_text(-1) == "--:--");
  CHECK(duration_text(INFINITY) == "--:--");
  CHECK(bytes_text(512) == "512 B");
  CHECK(bytes_text(1.3 * 1024 * 1024 * 1024) == "1.3 GiB");
  CHECK(bytes_text(1024 * 1024 - 1) == "1.0 MiB");
  CHECK(rate_text(14.23, "it") == "14.2 it/s");
  CHECK(rate_text(909.2, "img") == "909 img/s");
  CHECK(rate_text(0.04, "it") == "25.0 s/it");
  CHECK(rate_text(0, "it") == "-- it/s");
  CHECK(resident_bytes() > 100000);
}

TEST_CASE("durations are read only with units") {
  CHECK(parse_duration("1h50m", "x") == 6600);
  CHECK(parse_duration("90s", "x") == 90);
  CHECK(parse_duration("1.5h", "x") == 5400);
  CHECK(parse_duration("2d3h", "x") == 2 * 86400 + 3 * 3600);
  CHECK(parse_duration("3650d", "x") == 3650 * 86400.0);
  CHECK_THROWS_AS(parse_duration("61s", "x", 60), ConfigError);
  for (const char* text : {"", "90", "1h50", "h", "-1h", "0s", "1x", "1e3s", "nans", "infs", "4000d"}) CHECK_THROWS_AS(parse_duration(text, "x"), ConfigError);
}

TEST_CASE("the progress line has the documented text") {
  ProgressState state{.step = 1200,
                      .total = 20000,
                      .report = {0.4312, 0.87, 1e-4},
                      .steps_per_second = 14.2,
                      .samples_per_second = 909,
                      .eta_seconds = 22 * 60 + 5,
                      .memory_bytes = int64_t(1.3 * (1 << 30))};
  CHECK(progress_line(state) == "step 1200/20000  6.0%  loss 0.4312  |g| 0.87  lr 1.0e-04  14.2 it/s  909 img/s  ETA 22:05  mem 1.3 GiB");
  CHECK(progress_line(state, 95) == "step 1200/20000  6.0%  loss 0.4312  |g| 0.87  lr 1.0e-04  14.2 it/s  909 img/s  ETA 22:05");
  CHECK(progress_line(state, 10) == "step 1200/20000  6.0%  loss 0.4312  14.2 it/s  ETA 22:05");
  CHECK(progress_line({.step = 1, .total = 10, .report = {.loss = 2}}) == "step 1/10  10.0%  loss 2.0000  -- it/s  ETA --:--");
}

TEST_CASE("image progress prints a line every 30 s without a terminal, with the rate since the start") {
  TempFolder folder;
  FILE* sink = std::fopen((folder / "out").c_str(), "w");
  {
    Logger log(sink);
    double now = 7;
    ImageProgress drawn(log, "", 100, [&] { return now; });
    drawn.begin(20);
    for (int64_t done : {40, 60, 80, 100}) now += 20, drawn.at(done);
    ImageProgress encoded(log, "encoding", 1000, [&] { return now; });
    now += 1000;        // time until the first block of images
    encoded.at(500);
    now += 50;
    encoded.at(600);
  }
  std::fclose(sink);
  CHECK(read_file(folder / "out") ==
        "60/100 images  60.0%  1.00 img/s  ETA 0:40\n"
        "100/100 images  100.0%  1.00 img/s  ETA 0:00\n"
        "encoding 600/1000 images  60.0%  2.00 img/s  ETA 3:20\n");
}

TEST_CASE("rates leave out the first step and excluded time") {
  TempFolder folder;
  FILE* sink = std::fopen((folder / "out").c_str(), "w");
  {
    Logger log(sink);
    double now = 0;
    Progress progress(log, {.total_steps = 12, .done_steps = 2, .samples_per_step = 8, .log_every = 5}, [&] { return now; });
    now += 100;  // the first step is slow
    progress.step_done(3, {1.0});
    CHECK(progress.state().eta_seconds < 0);
    for (int64_t step = 4; step <= 12; ++step) {
      now += 0.5;
      if (step == 7) {
        const auto away = progress.exclude();
        now += 1000;
      }
      progress.step_done(step, {1.0 / double(step), 0.5, 1e-3});
      CHECK(near(progress.state().steps_per_second, 2, 1e-14));
      CHECK(near(progress.state().samples_per_second, 16, 1e-14));
      CHECK(progress.state().eta_seconds == 0.5 * double(12 - step));
    }
  }
  std::fclose(sink);
  const std::string out = read_file(folder / "out");  // no terminal, so plain lines for the steps 5, 10 and the last one
  CHECK(out.rfind("step 5/12  41.7%  loss 0.2000  |g| 0.50  lr 1.0e-03  2.00 it/s  16.0 img/s  ETA 0:04  mem ", 0) == 0);
  CHECK(out.find("\nstep 10/12 ") != std::string::npos);
  CHECK(out.find("\nstep 12/12  100.0%") != std::string::npos);
  CHECK(out.find('\r') == std::string::npos);
}

TEST_CASE("the logger prints messages of its level and records all of them in log.txt") {
  TempFolder folder;
  FILE* sink = std::fopen((folder / "out").c_str(), "w");
  {
    Logger log(sink);
    log.mirror_to(folder / "log.txt");
    log.info("a {}", 1);
    log.detail("hidden");
    log.set_level(Logger::Level::error);
    log.warning("quiet");
    log.error("loud");
    log.status("never on a file");
  }
  std::fclose(sink);
  CHECK(read_file(folder / "out") == "a 1\nerror: loud\n");
  const std::string record = read_file(folder / "log.txt");
  for (const char* line : {"  a 1\n", "  hidden\n", "  warning: quiet\n", "  error: loud\n"}) CHECK(record.find(line) != std::string::npos);
}
