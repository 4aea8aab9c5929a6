// A training program without mathematics, driven by tests/apps/program.cpp: it uses the parts of apps/cli and apps/run in the same order as real programs.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "apps/cli/program.h"
#include "apps/cli/progress.h"
#include "apps/cli/toml.h"
#include "apps/run/run_folder.h"
#include "apps/run/signals.h"
#include "data/report/metrics.h"
#include "data/report/training_report.h"
#include "nn/checkpoint_folder.h"
#include "nn/config/visit.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/io/atomic_file.h"

using namespace fm;

namespace {

struct ObjectiveConfig {
  std::string derivative = "jvp";
  double fd_step = 0.005;
  template <class V>
  void visit(V&& v) {
    v("derivative", derivative, "exact forward-mode product or central finite difference", one_of({"jvp", "fd"}));
    v("fd_step", fd_step, "step of the finite difference", range(1e-6, 0.5), unit("time"));
  }
};

struct ModelConfig {
  int64_t dim = 8;
  ObjectiveConfig objective;
  template <class V>
  void visit(V&& v) {
    v("dim", dim, "width", range(1, 4096), unit("channels"), basic());
    v("objective", objective, "the objective");
  }
};

// One field of every type. The loop below does not read all of them.
struct DemoConfig {
  int64_t steps = 2000, batch = 64, seed = 1;
  bool deterministic = true;
  int64_t log_every = 50, sample_every = 500, ckpt_every = 500, step_ms = 0;
  std::vector<std::string> log{"csv", "jsonl", "tb", "html"};
  double lr = 1e-4;
  ModelConfig model;
  template <class V>
  void visit(V&& v) {
    v("steps", steps, "optimizer steps", range(0, 1e9), basic());
    v("batch", batch, "samples of one optimizer step", range(1, 1e6));
    v("seed", seed, "all random numbers follow from it", range(0, 9e15));
    v("deterministic", deterministic, "the same bits every time");
    v("log_every", log_every, "log each so many steps; 0: never", range(0, 1e9));
    v("sample_every", sample_every, "draw sample grids each so many steps", range(0, 1e9));
    v("ckpt_every", ckpt_every, "save each so many steps; 0: at the end only", range(0, 1e9));
    v("step_ms", step_ms, "time of a step", range(0, 1e6), unit("ms"));
    v("log", log, "what to write", one_of({"csv", "jsonl", "tb", "html"}));
    v("lr", lr, "learning rate", above(0), basic());
    v("model", model, "the network");
  }
};

bool is_due(int64_t step, int64_t every) { return every > 0 && step % every == 0; }

int64_t newest_step(const CheckpointFolder& checkpoints) {
  for (int64_t step : checkpoints.newest_first()) return std::stoll(read_file(checkpoints.path(step) / "state"));
  return 0;
}

int train_demo(DemoConfig& config, Context& context) {
  if (context.launch.dry_run) return fmt::print("{}", to_toml(context.fields)), exit_code::finished;
  if (context.launch.out.empty()) throw ConfigError("--out DIR is missing: name the folder of the run");
  const HoldInterrupts hold;           // this loop checks for a stop after each step
  RunFolder folder(context.launch.out, context.launch.fresh, context.log);
  CheckpointFolder checkpoints(folder.checkpoints(), 3, 0);
  const int64_t done = context.launch.resume == "never" ? 0 : newest_step(checkpoints);
  folder.write_config(context.fields);
  folder.begin_session({.command_line = context.command_line, .seed = config.seed, .resumed_from = done > 0 ? done : -1});
  const LogFiles files = log_files(config.log);
  Metrics metrics(folder.path(), files);
  metrics.truncate_after(done);
  Progress progress(context.log, {config.steps, done, config.batch, config.log_every});
  const auto save = [&](int64_t step) {
    const auto away = progress.exclude();
    write_atomically(checkpoints.begin(step) / "state", std::to_string(step));
    checkpoints.publish(step);
    if (files.html) write_training_report(folder.path(), "demo");
  };
  int64_t step = done;
  while (step < config.steps && !stop_requested()) {
    ++step;
    std::this_thread::sleep_for(std::chrono::milliseconds(config.step_ms));
    metrics.log(step, {{"loss", 1.0 / double(step)}});
    progress.step_done(step, {1.0 / double(step), 0.5, config.lr});
    if (is_due(step, config.ckpt_every) || take_save_request()) save(step);
  }
  progress.finish();
  if (checkpoints.newest_first().empty() || checkpoints.newest_first().front() != step) save(step);
  const int code = step < config.steps ? exit_code::stopped_early : exit_code::finished;
  if (code == exit_code::stopped_early) context.log.info("stopped by {} after step {}", stop_reason(), step);
  folder.end_session(code, step);
  return code;
}

struct FailConfig {
  std::string how = "file";
  template <class V>
  void visit(V&& v) {
    v("how", how, "what to throw", one_of({"config", "file", "diverged", "shape", "memory"}));
  }
};

int fail(FailConfig& config, Context&) {
  if (config.how == "config") throw ConfigError("a config");
  if (config.how == "file") throw FileError("a file");
  if (config.how == "diverged") throw DivergedError("loss is nan at step 3");
  if (config.how == "shape") throw ShapeError("a shape");
  throw std::bad_alloc();
}

struct HangConfig {
  std::string ready;
  template <class V>
  void visit(V&& v) {
    v("ready", ready, "file that the loop writes when it is ready; a signal to stop writes a second file, FILE.stop");
  }
};

int hang(HangConfig& config, Context&) {  // reports a stop request, but does not stop
  write_atomically(config.ready, "ready");
  for (bool announced = false;; std::this_thread::sleep_for(std::chrono::milliseconds(5))) {
    if (announced || !stop_requested()) continue;
    write_atomically(config.ready + ".stop", stop_reason());
    announced = true;
  }
}

}  // namespace

int main(int argc, char** argv) {
  Program program{.name = "demo", .summary = "A demonstration.", .quickstart = "demo --steps 3 --out runs/tiny"};
  program.default_command = "train";
  program.add<DemoConfig>({.name = "train",
                           .help = "train",
                           .trains = true,
                           .examples = {{"train three steps", "demo train --steps 3 --out runs/tiny"}}},
                          train_demo);
  program.add<FailConfig>({.name = "fail", .help = "fail"}, fail);
  program.add<HangConfig>({.name = "hang", .help = "hang", .trains = true}, hang);
  return run_program(program, argc, argv);
}
