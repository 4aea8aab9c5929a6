// Trainings that explode: warning, stop, rewind, and equal results of a killed and an uninterrupted run. Also the best checkpoint.
#include <doctest/doctest.h>

#include <cmath>

#include "data/report/csv.h"
#include "nn/checkpoint.h"
#include "nn/checkpoint_folder.h"
#include "tests/apps/tiny_run.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

// 40 calm steps of fm, with checkpoints at 30 and 40. Tests continue it with a learning rate that explodes.
const fs::path& calm_run() {
  static const TempFolder folder;
  static const fs::path run = [] {
    copy_stages(folder / "run", {"judge", "encoder", "decoder"});
    succeeds(train("fm", folder / "run", {"--steps", "40", "--ckpt-every", "10", "-q"}));
    return folder / "run";
  }();
  return run;
}

const Arguments exploding{"--steps", "60", "--ckpt-every", "10", "--lr", "1", "--fm.loop.adamw.clip", "0", "--fm.loop.log_every", "1"};

fs::path copied(const TempFolder& folder, const std::string& name) {
  fs::copy(calm_run(), folder / name, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  return folder / name;
}

std::string model_of(const fs::path& run, const std::string& step) { return read_file(run / "fm/checkpoints" / step / "model.safetensors"); }

}  // namespace

TEST_CASE("explosion: stop exits with 4, reports the metric, its median and remedies, and keeps the checkpoints") {
  TempFolder folder;
  const fs::path out = copied(folder, "run");
  const Result result = train("fm", out, exploding + Arguments{"--lr", "0.3", "--on-explosion", "stop"});
  CHECK(result.code == exit_code::diverged);
  for (const char* part : {"grad_norm", "times its running median", "3 steps in a row", "likely remedies", "loop.adamw.clip = 1", "step-00000040"})
    CHECK_MESSAGE(has(result.err, part), result.err);
  CHECK(newest_step(out / "fm/checkpoints") == 40);
}

TEST_CASE("explosion: after a warning training continues; metrics count the warning") {
  TempFolder folder;
  const fs::path out = copied(folder, "run");
  const Result result = train("fm", out, exploding + Arguments{"--lr", "0.3", "--steps", "46"});
  CHECK_MESSAGE(has(result.err, "training is exploding"), result.err);
  succeeds(result);
  const Curve counted = csv_curve(read_file(out / "fm/metrics.csv"), "step", "explosions");
  REQUIRE(!counted.y.empty());
  CHECK(counted.y.front() == 1);
  CHECK(counted.x.front() > 40);
}

TEST_CASE("explosion: resuming from a checkpoint that already contains the explosion is reported, with an earlier one to resume from") {
  TempFolder folder;
  const fs::path out = copied(folder, "run");
  const Arguments leap{"--steps", "41", "--ckpt-every", "1", "--lr", "1", "--fm.loop.adamw.clip", "0", "-q"};
  succeeds(train("fm", out, leap));                                                // the logged loss of step 41 is from before its update
  const Arguments next{"--steps", "42", "--lr", "1e-3", "--fm.loop.adamw.clip", "1"};
  const Result stopped = train("fm", out, next + Arguments{"--on-explosion", "stop"});
  CHECK(stopped.code == exit_code::diverged);
  for (const char* part : {" is ", ", and its median before the checkpoint that training resumed from was ", "already contains the explosion: resume from the one before it with --resume ", "step-00000040, or begin anew"})
    CHECK_MESSAGE(has(stopped.err, part), stopped.err);
  const fs::path second = folder / "second";
  fs::copy(out, second, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  const Result warned = train("fm", second, next);
  succeeds(warned);
  CHECK_MESSAGE(has(warned.err, "already contains the explosion"), warned.err);
  const Result back = train("fm", out, next + Arguments{"--resume", (out / "fm/checkpoints/step-00000040").string()});
  succeeds(back);
  CHECK_MESSAGE(!has(back.err, "already contains the explosion"), back.err);
}

TEST_CASE("explosion: rewind halves the rate until training is stable; a killed run resumes to the same bytes") {
  TempFolder folder;
  const Arguments rewinding = exploding + Arguments{"--on-explosion", "rewind"};
  const fs::path whole = copied(folder, "whole"), cut = copied(folder, "cut");
  const Result result = train("fm", whole, rewinding);
  succeeds(result);
  CHECK_MESSAGE(has(result.err, "rewound to step 40, the learning rate is now 0.5 of the schedule's"), result.err);
  CHECK_MESSAGE(has(result.err, "now 0.25 of the schedule's"), result.err);
  const Curve rate = csv_curve(read_file(whole / "fm/metrics.csv"), "step", "lr");
  CHECK(rate.y.back() < 0.5);
  for (std::size_t i = 1; i < rate.x.size(); ++i) CHECK(rate.x[i] > rate.x[i - 1]);   // no step is in the table twice after a rewind

  // The process is killed some time after its first rewind.
  const Result killed = train("fm", cut, rewinding, [&](pid_t child) {
    CHECK(wait_until([&] { return has(read_file(cut / "fm/log.txt"), "rewound to step"); }));
    kill(child, SIGKILL);
  });
  if (killed.code != 0) succeeds(train("fm", cut, rewinding));
  CHECK(model_of(cut, "step-00000060") == model_of(whole, "step-00000060"));
}

TEST_CASE("explosion: training stops after 5 rewinds, and the error says so") {
  TempFolder folder;
  const fs::path out = copied(folder, "run");
  const Result result = train("fm", out, exploding + Arguments{"--lr", "1e9", "--on-explosion", "rewind", "-q"});
  CHECK(result.code == exit_code::diverged);
  CHECK_MESSAGE(has(result.err, "explodes again after 5 rewinds"), result.err);
}

TEST_CASE("keep-best: the checkpoint with the lowest mean is kept although newer ones exist") {
  TempFolder folder;
  const fs::path out = folder / "run";
  copy_stages(out, {"judge", "encoder", "decoder"});
  const Arguments best{"--ckpt-every", "4", "--fm.loop.keep", "1", "--fm.loop.log_every", "1", "--keep-best", "loss", "-q"};
  succeeds(train("fm", out, best + Arguments{"--steps", "16"}));
  succeeds(train("fm", out, best + Arguments{"--steps", "40", "--lr", "0.2"}));           // these steps make the loss worse
  const Curve loss = csv_curve(read_file(out / "fm/metrics.csv"), "step", "loss");
  REQUIRE(loss.x.size() == 40);
  std::int64_t lowest = 0;
  double least = INFINITY;
  for (std::int64_t step = 4; step <= 40; step += 4) {
    double mean = 0;
    for (std::int64_t i = step - 4; i < step; ++i) mean += loss.y[static_cast<std::size_t>(i)] / 4;
    if (mean < least) least = mean, lowest = step;
  }
  CHECK(lowest < 40);
  const fs::path checkpoints = out / "fm/checkpoints";
  CHECK(fs::read_symlink(checkpoints / "best") == step_name(lowest));
  CHECK(load_weights((checkpoints / "best").string() + ":ema", {}).step == lowest);
  CHECK(newest_step(checkpoints) == 40);
}
