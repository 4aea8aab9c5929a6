// The training loop as a library: its reports and their order, stops and resumes with the same bits, and errors for inputs that do not fit, on one rank and
// two. The files of RunFiles. The requirements for recording steps of objectives.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <new>
#include <utility>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "data/report/csv.h"
#include "flowmap/objective/cmt.h"
#include "flowmap/training/run_files.h"
#include "nn/checkpoint_folder.h"
#include "nn/layers/mlp.h"
#include "tensor/collectives/threads.h"
#include "tensor/io/atomic_file.h"
#include "tensor/random/fill.h"
#include "tests/flowmap/doubling_training.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

// Records its calls; stops or requests a checkpoint at given steps.
struct Recorder : LoopObserver {
  std::vector<std::string> heard, said;
  std::int64_t stop_at = -1, save_at = -1, now = 0;
  bool incomplete = false;

  void hear(const std::string& what, std::int64_t step) { heard.push_back(what + " " + std::to_string(step)); }
  void message(const std::string& line) override { said.push_back(line); }
  void warning(const std::string& line) override { said.push_back("warning: " + line); }
  void opening(const TrainingSetup& setup) override { heard.push_back("opening " + setup.stage.name); }
  void started(std::int64_t step) override { hear("started", step); }
  bool found_done(std::int64_t step) override { return hear("found_done", step), incomplete; }
  void completing(std::int64_t step) override { hear("completing", step); }
  void steps_begin(std::int64_t step) override { hear("begin", step); }
  void steps_end() noexcept override { heard.push_back("end"); }
  void step_done(std::int64_t step, const StepReport& report) override {
    hear("step", now = step);
    norms.push_back(report.grad_norm);
  }
  void row(std::int64_t step, const LoopNumbers& numbers) override {
    hear("row", step);
    row_now = numbers;
  }
  void saved(std::int64_t step) override { hear("saved", step); }
  void preview(std::int64_t step) override { hear("preview", step); }
  void rewound(std::int64_t step) override { hear("rewound", step); }
  std::string stop_reason() override { return now == stop_at ? "a test" : ""; }
  bool save_requested() override { return now == save_at; }
  void stopped(std::int64_t step, const std::string& reason) override { hear("stopped for " + reason + " at", step); }
  void ended(std::int64_t step, Outcome outcome) override { hear(outcome == Outcome::finished ? "finished" : "stopped", step); }
  void failed(std::int64_t step, const std::exception& error) override { hear(std::string("failed: ") + error.what() + " at", step); }

  LoopNumbers row_now;
  std::vector<double> norms;             // of the gradients, by step
};

using Texts = std::vector<std::string>;
bool any_has(const Texts& texts, const std::string& part) {
  return std::any_of(texts.begin(), texts.end(), [&](const std::string& text) { return has(text, part); });
}

}  // namespace

TEST_CASE("training: an observer is called for steps, rows, checkpoints and previews, in their order") {
  const TempFolder folder;
  Training t(folder.path());
  t.stage.preview = [](std::int64_t, const fs::path&) {};
  Recorder r;
  r.save_at = 5;
  CHECK(t.run(r) == Outcome::finished);
  CHECK(r.heard == Texts{"opening double", "started 0", "begin 0", "step 1", "step 2", "step 3", "saved 3", "step 4", "row 4", "step 5", "saved 5", "step 6",
                         "saved 6", "step 7", "step 8", "row 8", "saved 8", "preview 8", "end", "finished 8"});
  REQUIRE(r.row_now.size() == 5);
  CHECK(r.row_now[0].first == "loss");
  CHECK(r.row_now[1].first == "grad_norm");
  CHECK(r.row_now[2] == std::pair<std::string, double>("lr", 1e-2));
  CHECK(r.row_now[3] == std::pair<std::string, double>("grad_norm_max", *std::max_element(r.norms.end() - 4, r.norms.end())));
  CHECK(r.row_now[4].first == "twice");
  CHECK(near(r.row_now[4].second, 2 * r.row_now[0].second, 1e-6));
  for (const StepPart& part : t.parts) CHECK(part.total == 8);
}

TEST_CASE("training: a stopped and resumed training ends with the same bits; the schedule keeps its total number of steps") {
  const TempFolder folder;
  Training whole(folder / "whole"), first(folder / "parts"), second(folder / "parts", 99);
  Recorder a, b, c;
  whole.run(a);
  b.stop_at = 4;
  CHECK(first.run(b) == Outcome::stopped);
  const Texts end(b.heard.end() - 4, b.heard.end());
  CHECK(end == Texts{"saved 4", "stopped for a test at 4", "end", "stopped 4"});
  CHECK(second.run(c) == Outcome::finished);
  CHECK(c.heard[1] == "started 4");
  CHECK(any_has(c.said, "double: resuming from"));
  REQUIRE(second.parts.size() == 4);
  CHECK(second.parts[0].step == 4);
  CHECK(second.parts[0].total == 8);
  for (const char* file : {"model.safetensors", "ema.safetensors", "optimizer.safetensors"})
    CHECK(whole.checkpoint(8, file) == second.checkpoint(8, file));
  CHECK(whole.checkpoint(8, "model.safetensors") != whole.checkpoint(6, "model.safetensors"));
}

TEST_CASE("training: the largest norm of an interval includes the steps before a stop in its middle") {
  const TempFolder folder;
  Training whole(folder / "whole"), first(folder / "parts"), second(folder / "parts");
  for (Training* t : {&whole, &first, &second}) {
    t->loop.log_every = 8;
    t->stage.loss = [loss = t->stage.loss](const StepPart& part) {
      StepLoss out = loss(part);
      if (part.step == 1) out.loss = out.loss * 30.0;                                 // a rare large gradient
      return out;
    };
  }
  Recorder a, b, c;
  whole.run(a);
  b.stop_at = 4;
  first.run(b);
  second.run(c);
  CHECK(a.norms[1] > 2 * a.norms[7]);
  for (const Recorder* r : {&a, &c}) CHECK(r->row_now[3] == std::pair<std::string, double>("grad_norm_max", a.norms[1]));
}

TEST_CASE("training: a finished training is not repeated, but its missing files are written") {
  const TempFolder folder;
  Recorder r, again, incomplete;
  Training(folder.path()).run(r);
  Training(folder.path()).run(again);
  CHECK(again.heard == Texts{"opening double", "found_done 8"});
  CHECK(again.said.back() == "double: done (8 steps)");
  incomplete.incomplete = true;
  Training(folder.path()).run(incomplete);
  CHECK(incomplete.heard == Texts{"opening double", "found_done 8", "completing 8", "saved 8", "finished 8"});
}

TEST_CASE("training: errors use the program's names of the options") {
  const TempFolder folder;
  Recorder r;
  Training t(folder.path());
  t.stage.made_from = {{"teacher", "1234"}};
  t.run(r);
  Training never(folder.path()), nowhere(folder.path()), other(folder.path());
  never.options.resume = "never";
  CHECK(has(error_of<ConfigError>([&] { never.run(r); }), "TrainOptions::resume never: "));
  CHECK(has(error_of<ConfigError>([&] { never.run(r); }), "; use another TrainOptions::out"));
  never.options.names = {.out = "--out", .resume = "--resume", .fresh = "--fresh"};
  CHECK(has(error_of<ConfigError>([&] { never.run(r); }), "--resume never: "));
  CHECK(has(error_of<ConfigError>([&] { never.run(r); }), "; --fresh moves them aside"));
  nowhere.options.resume = (folder / "nowhere").string();
  CHECK(has(error_of<FileError>([&] { nowhere.run(r); }), "no checkpoint there"));
  other.stage.made_from = {{"teacher", "5678"}};
  CHECK(has(error_of<ConfigError>([&] { other.run(r); }), "was made from another teacher (1234, now 5678); train it again with another TrainOptions::out"));
  Training without(folder.path());                                         // a training without the entry does not forget it
  without.loop.steps = 9;
  without.run(r);
  CHECK(has(error_of<ConfigError>([&] { other.run(r); }), "was made from another teacher (1234, now 5678)"));
}

TEST_CASE("training: a loss that is not finite ends the training with advice, and the checkpoint before it stays") {
  const TempFolder folder;
  Training t(folder.path());
  t.stage.loss = [&, loss = t.stage.loss](const StepPart& part) {
    StepLoss out = loss(part);
    if (part.step == 4) out.loss = out.loss * std::nan("");
    return out;
  };
  Recorder r;
  const std::string text = error_of<DivergedError>([&] { t.run(r); });
  CHECK_MESSAGE(has(text, "double: the loss is nan at step 5; the last checkpoint is intact: "), text);
  CHECK(r.heard.back() == "failed: double: the loss is nan at step 5 at 4");
  CHECK(newest_step(t.options.checkpoints(t.stage)) == 3);
}

TEST_CASE("training: two ranks have one rank's losses; a stop or checkpoint that one rank requests applies to all ranks") {
  const TempFolder folder;
  Training one(folder / "one");
  Recorder alone;
  one.run(alone);
  std::vector<Recorder> heard(2);
  run_ranks(2, [&](Communicator& ranks) {
    Recorder& r = heard[static_cast<std::size_t>(ranks.rank())];
    Training t(folder / "two");
    CHECK(t.run_on(ranks, r) == Outcome::finished);
  });
  CHECK(near(heard[0].row_now[0].second, alone.row_now[0].second, 1e-6));
  CHECK(heard[0].row_now == heard[1].row_now);

  std::vector<Recorder> stopped(2);
  stopped[1].stop_at = 5, stopped[1].save_at = 4;
  run_ranks(2, [&](Communicator& ranks) {
    Training t(folder / "stopped");
    CHECK(t.run_on(ranks, stopped[static_cast<std::size_t>(ranks.rank())]) == Outcome::stopped);
  });
  // Ranks exchange requests inside a step, so a request made after step n takes effect after step n + 1.
  for (const Recorder& r : stopped) {
    CHECK(std::find(r.heard.begin(), r.heard.end(), "saved 5") != r.heard.end());
    CHECK(std::find(r.heard.begin(), r.heard.end(), "stopped for a test at 6") != r.heard.end());
  }
}

TEST_CASE("training: parts of a batch cover it once, and each part names the start of the next") {
  const TempFolder folder;
  const auto parts_of = [&](std::int64_t micro_batch, Communicator& ranks, const char* name) {
    Training t(folder / (name + std::to_string(ranks.rank())));
    t.loop.steps = 2, t.loop.micro_batch = micro_batch;
    Recorder r;
    t.run_on(ranks, r);
    std::vector<std::array<std::int64_t, 5>> out;
    for (const StepPart& p : t.parts) out.push_back({p.step, p.first, p.count, p.next, p.total});
    return out;
  };
  using Parts = std::vector<std::array<std::int64_t, 5>>;
  SingleRank alone;
  CHECK(parts_of(2, alone, "a") == Parts{{0, 0, 2, 2, 2}, {0, 2, 2, 4, 2}, {0, 4, 2, 6, 2}, {1, 0, 2, 8, 2}, {1, 2, 2, 10, 2}, {1, 4, 2, 12, 2}});
  CHECK(parts_of(0, alone, "b") == Parts{{0, 0, 6, 6, 2}, {1, 0, 6, 12, 2}});
  CHECK(parts_of(4, alone, "c") == Parts{{0, 0, 4, 4, 2}, {0, 4, 2, 6, 2}, {1, 0, 4, 10, 2}, {1, 4, 2, 12, 2}});
  run_ranks(2, [&](Communicator& ranks) {
    const std::int64_t r = 3 * ranks.rank();                       // each rank has three rows, in parts of two and one
    Training t(folder / "ranks");
    t.loop.steps = 2, t.loop.micro_batch = 2;
    Recorder recorder;
    t.run_on(ranks, recorder);
    std::vector<std::int64_t> next, count;
    for (const StepPart& p : t.parts) next.push_back(p.next), count.push_back(p.count);
    CHECK(next == std::vector<std::int64_t>{r + 2, 6 + r, 6 + r + 2, 12 + r});
    CHECK(count == std::vector<std::int64_t>{2, 1, 2, 1});
  });
}

TEST_CASE("training: recorded steps are for one rank on a GPU, and are refused elsewhere") {
  if (default_device().is_cuda()) return;
  const TempFolder folder;
  const std::string wanted = "TrainOptions::cuda_graph: works only with one rank on a CUDA device; leave it out";
  const auto refusal = [&](Communicator& ranks) {
    Training t(folder / "run");
    t.options.cuda_graph = true;
    Recorder r;
    return error_of<ConfigError>([&] { t.run_on(ranks, r); });
  };
  SingleRank alone;
  CHECK(refusal(alone) == wanted);
  run_ranks(2, [&](Communicator& ranks) { CHECK(refusal(ranks) == wanted); });
}

TEST_CASE("training: a rewind halves the learning rate, and a resumed training keeps the halved rate") {
  const TempFolder folder;
  bool broken = false;
  const auto arm = [&](Training& t) {
    t.loop.log_every = 1;
    t.stage.watch.on_explosion = "rewind";
    t.stage.loss = [&, loss = t.stage.loss](const StepPart& part) {
      StepLoss out = loss(part);
      if (part.step == 4 && !std::exchange(broken, true)) out.loss = out.loss * std::nan("");
      return out;
    };
  };
  Recorder first, second;
  first.stop_at = 5;
  {
    Training t(folder.path(), 1);
    arm(t);
    CHECK(t.run(first) == Outcome::stopped);
  }
  CHECK(std::find(first.heard.begin(), first.heard.end(), "rewound 3") != first.heard.end());
  CHECK(first.row_now[2] == std::pair<std::string, double>("lr", 5e-3));
  Training t(folder.path(), 2);
  arm(t);
  CHECK(t.run(second) == Outcome::finished);
  CHECK(second.heard[1] == "started 5");
  CHECK(second.row_now[2] == std::pair<std::string, double>("lr", 5e-3));
  CHECK(std::find(second.heard.begin(), second.heard.end(), "row 6") != second.heard.end());
  // A second explosion at the same step rewinds to the checkpoint before. The later checkpoint is kept under another name.
  Training twice(folder / "twice");
  twice.loop.ckpt_every = 2, twice.stage.watch.on_explosion = "rewind";
  twice.stage.loss = [&, times = 0, loss = twice.stage.loss](const StepPart& part) mutable {
    StepLoss out = loss(part);
    if (part.step == 5 && times++ < 2) out.loss = out.loss * std::nan("");
    return out;
  };
  Recorder q;
  CHECK(twice.run(q) == Outcome::finished);
  std::erase_if(q.heard, [](const std::string& what) { return !what.starts_with("rewound"); });
  CHECK(q.heard == std::vector<std::string>{"rewound 4", "rewound 2"});
  CHECK(std::any_of(q.said.begin(), q.said.end(), [](const std::string& line) { return has(line, "a checkpoint of the explosion is kept as"); }));
  // Without an earlier checkpoint a rewind is impossible.
  Training none(folder / "none");
  none.stage.watch.on_explosion = "rewind";
  none.stage.loss = [&, loss = none.stage.loss](const StepPart& part) {
    StepLoss out = loss(part);
    if (part.step == 1) out.loss = out.loss * std::nan("");
    return out;
  };
  Recorder r;
  CHECK(has(error_of<DivergedError>([&] { none.run(r); }), "double: no checkpoint from before the explosion to rewind to"));
}

TEST_CASE("training: an exploding number ends the training, or rewinds it to the checkpoint before") {
  const TempFolder folder;
  const auto arm = [](Training& t, const char* answer, bool& over) {
    t.loop.steps = 30, t.loop.ckpt_every = 10, t.loop.log_every = 1;
    t.stage.watch.on_explosion = answer;
    t.stage.loss = [&over, loss = t.stage.loss](const StepPart& part) {
      StepLoss out = loss(part);
      if (part.step >= 22 && !over) out.loss = out.loss * 1e4;
      if (part.step == 24) over = true;
      return out;
    };
  };
  bool over = false;
  Recorder stopped, rewound;
  Training stops(folder / "stop"), rewinds(folder / "rewind");
  arm(stops, "stop", over);
  const std::string text = error_of<DivergedError>([&] { stops.run(stopped); });
  CHECK_MESSAGE(has(text, "double: step 25: "), text);
  CHECK(newest_step(stops.options.checkpoints(stops.stage)) == 20);
  over = false;
  arm(rewinds, "rewind", over);
  CHECK(rewinds.run(rewound) == Outcome::finished);
  CHECK(std::find(rewound.heard.begin(), rewound.heard.end(), "rewound 20") != rewound.heard.end());
  CHECK(rewound.row_now[2] == std::pair<std::string, double>("lr", 5e-3));
}

TEST_CASE("training: ranks with another seed or config are refused, and the error names the difference") {
  const TempFolder folder;
  std::vector<std::string> texts(2);
  run_ranks(2, [&](Communicator& ranks) {
    Recorder r;
    Training t(folder / "run");
    t.loop.batch += ranks.rank();
    t.stage.fields = list_fields(t.loop);
    texts[static_cast<std::size_t>(ranks.rank())] = error_of<ConfigError>([&] { t.run_on(ranks, r); });
  });
  for (const std::string& text : texts) CHECK_MESSAGE(has(text, "rank 1 was not started as rank 0 was: batch was 6, is 7"), text);
}

TEST_CASE("run files: metrics, report and config are beside the checkpoints; a second process is refused; a missing report is rewritten") {
  const TempFolder folder;
  const fs::path run = folder / "double";
  {
    Training t(folder.path());
    t.stage.fields = list_fields(t.loop);
    t.stage.preview = [](std::int64_t step, const fs::path& png) { write_atomically(png, "no png of step " + std::to_string(step)); };
    QuietFiles files({.tensorboard = false});
    t.run(files);
    const std::string csv = read_file(run / "metrics.csv");
    CHECK(csv_columns(csv) == Texts{"step", "time", "loss", "grad_norm", "lr", "grad_norm_max", "twice"});
    CHECK(csv_curve(csv, "step", "loss").x == std::vector<double>{4, 8});
    CHECK(has(read_file(run / "report.html"), "<svg"));
    CHECK(has(read_file(run / "config.toml"), "batch = 6"));
    CHECK(fs::exists(run / "samples" / "step-00000008.png"));
    QuietFiles second;
    CHECK(has(error_of<ConfigError>([&] { t.run(second); }), "another process is writing to this run"));
  }
  fs::remove(run / "report.html");
  Training again(folder.path());
  QuietFiles files({.tensorboard = false});
  again.run(files);
  CHECK(fs::exists(run / "report.html"));
  CHECK(csv_curve(read_file(run / "metrics.csv"), "step", "loss").x == std::vector<double>{4, 8});
}

TEST_CASE("run files: rows after the checkpoint from which a training resumes are cut off") {
  const TempFolder folder;
  Training t(folder.path());
  t.loop.log_every = 1;
  t.stage.after_step = [](std::int64_t step) {
    if (step == 6) throw std::bad_alloc();                               // the weights are those of step 6, so no checkpoint of step 5 can be made
  };
  const LogFiles which{.tensorboard = false, .html = false};
  {
    QuietFiles files(which);
    CHECK_THROWS_AS(t.run(files), std::bad_alloc);
  }
  CHECK(newest_step(t.options.checkpoints(t.stage)) == 3);
  Training rest(folder.path());
  rest.loop.log_every = 1;
  QuietFiles files(which);
  rest.run(files);
  CHECK(csv_curve(read_file(folder / "double" / "metrics.csv"), "step", "loss").x == std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8});
}

TEST_CASE("any_drawn lists all tensors of a step, and has another form if the step does other work") {
  const Samples samples = consecutive(0, 8);
  const Batch batch{random_normal_rows(samples, {3}, {1, 1}), Tensor::zeros({8}, DType::i64), Draws{1, 0, samples}};
  PairConfig pairs;
  pairs.exact_share = true;
  const Drawn drawn{draw_path_batch(batch, pairs, {}), {{"split", Tensor::zeros({8})}}};
  const AnyDrawn any = any_drawn(drawn);
  const PathBatch& p = drawn.p;
  const std::vector<Tensor> all{p.z0, p.eps, p.z, p.s, p.t, p.y, drawn["split"]};
  REQUIRE(any.tensors.size() == all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    CHECK(any.tensors[i]->shape() == all[i].shape());
    CHECK(any.tensors[i]->raw() == all[i].raw());
  }
  pairs.diagonal_share = 0;
  CHECK(any_drawn(Drawn{draw_path_batch(batch, pairs, {}), {}}).form != any.form);
  CHECK(any_drawn(Drawn{p, {}, 1}).form != any.form);
}
