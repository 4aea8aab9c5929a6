// Scores that a training measures at its averaged weights (StageScores): columns of metrics.csv, the best checkpoint, and several ranks.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "data/report/csv.h"
#include "flowmap/metrics/inception_score.h"
#include "flowmap/metrics/sample_metrics.h"
#include "tensor/collectives/threads.h"
#include "tensor/random/fill.h"
#include "tests/flowmap/doubling_training.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;
using Texts = std::vector<std::string>;

TEST_CASE("run files: scores are columns of the steps that measure them, at the averaged weights, and the best of them is kept") {
  const TempFolder folder;
  const auto with_scores = [&](std::int64_t every) {
    auto t = std::make_unique<Training>(folder.path() / std::to_string(every));
    t->loop.score_every = every, t->loop.ckpt_every = 2, t->loop.keep = 1;
    t->stage.watch.keep_best = "distance";
    t->stage.scores.names = {"distance", "weight", "undefined"};
    t->stage.scores.measure = [t = t.get()](std::int64_t step) {
      return std::vector<double>{std::abs(static_cast<double>(step) - 4.0), named_parameters(t->average).front().parameter->value.to_vector<double>().front(), std::nan("")};
    };
    return t;
  };
  const auto t = with_scores(2);
  QuietFiles files({.tensorboard = false, .html = false});
  t->run(files);
  const std::string csv = read_file(t->options.folder(t->stage) / "metrics.csv");
  CHECK(csv_columns(csv) == Texts{"step", "time", "loss", "grad_norm", "lr", "grad_norm_max", "twice", "distance", "weight"});
  CHECK(csv_curve(csv, "step", "distance").x == std::vector<double>{2, 4, 6, 8});
  CHECK(csv_curve(csv, "step", "distance").y == std::vector<double>{2, 0, 2, 4});
  CHECK(csv_curve(csv, "step", "weight").y.back() == named_parameters(t->average).front().parameter->value.to_vector<double>().front());
  CHECK(fs::read_symlink(t->options.checkpoints(t->stage) / "best").filename() == step_name(4));
  const auto higher = with_scores(2);                                      // of the same scores the highest
  higher->options.out = folder.path() / "higher";
  higher->stage.scores.higher = {"distance"};
  QuietFiles most({.tensorboard = false, .html = false});
  higher->run(most);
  CHECK(fs::read_symlink(higher->options.checkpoints(higher->stage) / "best").filename() == step_name(8));
  const auto between = with_scores(3);                                     // checkpoints 2, 4, 6 and 8; scores of 3, 6 and 8: that of 3 is of no checkpoint
  QuietFiles some({.tensorboard = false, .html = false});
  between->run(some);
  CHECK(fs::read_symlink(between->options.checkpoints(between->stage) / "best").filename() == step_name(6));
  const auto undefined = with_scores(2);
  undefined->options.out = folder.path() / "undefined";
  undefined->stage.watch.keep_best = "undefined";
  CHECK(has(error_of<ConfigError>([&] { undefined->run(some); }), "--keep-best undefined: stage double has no such score for these samples"));
  const auto unscored = with_scores(0);
  QuietFiles none({.tensorboard = false, .html = false});
  CHECK(has(error_of<ConfigError>([&] { unscored->run(none); }), "--keep-best distance: stage double has no such column"));
  const auto lacking = with_scores(2);
  lacking->stage.scores = {};
  CHECK(has(error_of<ConfigError>([&] { lacking->run(none); }), "double: score_every 2: this stage has no scores"));
  const auto last = with_scores(5);                                       // the last step is always scored
  QuietFiles more({.tensorboard = false, .html = false});
  last->run(more);
  CHECK(csv_curve(read_file(last->options.folder(last->stage) / "metrics.csv"), "step", "distance").x == std::vector<double>{5, 8});
}

TEST_CASE("the best checkpoint survives a kill before its link is set, and a training without keep_best in between") {
  const TempFolder folder;
  const auto run_to = [&](std::int64_t steps, std::vector<double> scores, const std::string& keep_best) {
    Training t(folder.path());
    t.loop.steps = steps, t.loop.ckpt_every = 2, t.loop.keep = 1, t.loop.score_every = keep_best.empty() ? 0 : 2;
    t.stage.watch.keep_best = keep_best;
    t.stage.scores.names = {"distance"};
    t.stage.scores.measure = [&](std::int64_t step) { return std::vector<double>{scores[static_cast<std::size_t>(step / 2 - 1)]}; };
    QuietFiles files({.tensorboard = false, .html = false});
    CHECK(t.run(files) == Outcome::finished);
    return t.options.checkpoints(t.stage);
  };
  const fs::path checkpoints = run_to(2, {1}, "distance"), best = checkpoints / "best";
  CHECK(fs::read_symlink(best).filename() == step_name(2));
  fs::remove(best);                                                       // as after a kill between the checkpoint and its link
  run_to(6, {1, 3, 2}, "distance");
  CHECK(fs::read_symlink(best).filename() == step_name(2));
  CHECK(fs::exists(checkpoints / step_name(2)));
  run_to(8, {}, "");
  run_to(12, {1, 3, 2, 9, 1.5, 1.5}, "distance");
  CHECK(fs::read_symlink(best).filename() == step_name(2));
  fs::remove_all(checkpoints / step_name(2));                             // by the user: the next score is the best that there is
  run_to(14, {1, 3, 2, 9, 1.5, 1.5, 4}, "distance");
  CHECK(fs::read_symlink(best).filename() == step_name(14));
}

TEST_CASE("a rewind before the best checkpoint sets the link to the best one that is left") {
  const TempFolder folder;
  Training t(folder.path());
  t.loop.ckpt_every = 2, t.loop.score_every = 2;
  t.stage.watch.on_explosion = "rewind", t.stage.watch.keep_best = "distance";
  t.stage.scores.names = {"distance"};
  t.stage.scores.measure = [times = 0](std::int64_t step) mutable { return std::vector<double>{step == 2 ? 3 : step == 4 && times++ == 0 ? 1.0 : 9.0}; };
  t.stage.loss = [times = 0, loss = t.stage.loss](const StepPart& part) mutable {
    StepLoss out = loss(part);
    if (part.step == 5 && times++ < 2) out.loss = out.loss * std::nan("");          // rewinds to step 4, then to step 2
    return out;
  };
  QuietFiles files({.tensorboard = false, .html = false});
  CHECK(t.run(files) == Outcome::finished);
  CHECK(fs::read_symlink(t.options.checkpoints(t.stage) / "best").filename() == step_name(2));
}

TEST_CASE("checkpoints that miss the scored steps are warned of, if the best one is chosen by a score") {
  const TempFolder folder;
  const auto warnings = [&](std::int64_t ckpt_every, const std::string& keep_best) {
    Training t(folder / fmt::format("{}{}", ckpt_every, keep_best));
    t.loop.score_every = 2, t.loop.ckpt_every = ckpt_every, t.stage.watch.keep_best = keep_best;
    t.stage.scores.names = {"distance"};
    t.stage.scores.measure = [](std::int64_t) { return std::vector<double>{1}; };
    struct Hears : LoopObserver {
      Texts heard;
      void warning(const std::string& text) override { heard.push_back(text); }
    } hears;
    t.run(hears);
    return hears.heard;
  };
  CHECK(warnings(3, "distance") == Texts{"double: checkpoints of every 3 steps and scores of every 2: only a checkpoint of a scored step can be the best by distance; make ckpt_every "
                                         "a multiple of score_every"});
  CHECK(warnings(4, "distance").empty());
  CHECK(warnings(3, "loss").empty());
}

TEST_CASE("a step whose scores cannot be measured is saved") {
  const TempFolder folder;
  Training t(folder.path());
  t.loop.score_every = 4, t.loop.ckpt_every = 100;
  t.stage.scores.names = {"distance"};
  t.stage.scores.measure = [](std::int64_t) -> std::vector<double> { throw FileError("the reference is gone"); };
  QuietFiles files({.tensorboard = false, .html = false});
  CHECK(error_of<FileError>([&] { t.run(files); }) == "the reference is gone");
  CHECK(newest_step(t.options.checkpoints(t.stage)) == 4);
}

TEST_CASE("two ranks have the scores of the first one") {
  const TempFolder folder;
  std::vector<Texts> rows(2);
  run_ranks(2, [&](Communicator& ranks) {
    Training t(folder.path());
    t.loop.score_every = 4, t.loop.micro_batch = 0;
    t.stage.scores.names = {"rank"};
    t.stage.scores.measure = [&](std::int64_t) { return std::vector<double>{10.0 + ranks.rank()}; };
    struct Hears : LoopObserver {
      Texts heard;
      void row(std::int64_t step, const LoopNumbers& numbers) override { heard.push_back(fmt::format("{} {} {}", step, numbers.back().first, numbers.back().second)); }
    } hears;
    t.run_on(ranks, hears);
    rows[static_cast<std::size_t>(ranks.rank())] = hears.heard;
  });
  CHECK(rows[0] == Texts{"4 rank 10", "8 rank 10"});
  CHECK(rows[1] == rows[0]);
}

TEST_CASE("of the metrics of samples, precision, recall and the Inception Score are better if they are higher") {
  Texts lower, higher;
  for (const SampleMetric& metric : sample_metrics())
    for (const MetricValue& value : metric.values) (value.higher_is_better ? higher : lower).emplace_back(value.name);
  CHECK(lower == Texts{"frechet", "energy_distance", "mean_error", "variance_error", "correlation_error", "power_error", "kid", "sfid"});
  CHECK(higher == Texts{"precision", "recall", "is"});
}

TEST_CASE("sFID compares spatial features, and the Inception Score is the mean of 10 splits of the logits") {
  const Tensor real = random_normal({30, 4}, {.seed = 1}), generated = random_normal({30, 4}, {.seed = 2});
  const Tensor real_spatial = random_normal({30, 3}, {.seed = 3}), spatial = random_normal({30, 3}, {.seed = 4}), logits = random_normal({30, 5}, {.seed = 5});
  const GaussianFit real_fit = fit_gaussian(real), real_spatial_fit = fit_gaussian(real_spatial);
  const auto all = measured_metrics({.real = real, .real_fit = real_fit, .generated = generated, .real_spatial_fit = &real_spatial_fit, .spatial = spatial, .logits = logits});
  CHECK(all.at("sfid") == frechet_distance(fit_gaussian(spatial), real_spatial_fit));
  CHECK(all.at("is") == inception_score(logits, InceptionSplits::torch_fidelity()).mean);
  const auto few = measured_metrics({.real = real, .real_fit = real_fit, .generated = generated, .spatial = spatial, .logits = logits.slice(0, 0, 9)});
  CHECK_FALSE(few.contains("sfid"));
  CHECK_FALSE(few.contains("is"));
}
