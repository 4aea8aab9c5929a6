// A training program without mathematics, driven by tests/apps/program.cpp: every part of apps/support in the order that real ones use.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <new>
#include <thread>

#include "apps/support/metrics.h"
#include "apps/support/program.h"
#include "apps/support/progress.h"
#include "apps/support/run_config.h"
#include "apps/support/run_folder.h"
#include "apps/support/signals.h"
#include "apps/support/toml.h"
#include "apps/support/training_report.h"
#include "nn/checkpoint_folder.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

using namespace fm;

namespace {

struct ModelConfig {
  int64_t dim = 8;
  DerivativeConfig objective;
  template <class V>
  void visit(V&& v) {
    v("dim", dim, "width", range(1, 4096), unit("channels"));
    v("objective", objective, "the objective");
  }
};

struct DemoConfig : RunConfig {
  double lr = 1e-4;
  int64_t step_ms = 0;
  ModelConfig model;
  template <class V>
  void visit(V&& v) {
    RunConfig::visit(v);
    v("lr", lr, "learning rate", above(0));
    v("step_ms", step_ms, "time of a step", unit("ms"));
    v("model", model, "the network");
  }
};

int64_t newest_step(const CheckpointFolder& checkpoints) {
  for (int64_t step : checkpoints.newest_first()) return std::stoll(read_file(checkpoints.path(step) / "state"));
  return 0;
}

int train(DemoConfig& config, Context& context) {
  if (context.launch.dry_run) return fmt::print("{}", to_toml(context.fields)), exit_code::finished;
  if (context.launch.out.empty()) throw ConfigError("--out DIR is missing: name the folder of the run");
  RunFolder folder(context.launch.out, context.launch.fresh, context.log);
  CheckpointFolder checkpoints(folder.checkpoints(), config.keep, config.keep_every);
  const int64_t done = context.launch.resume == "never" ? 0 : newest_step(checkpoints);
  folder.write_config(context.fields);
  folder.begin_session({.command_line = context.command_line, .seed = config.seed, .resumed_from = done > 0 ? done : -1});
  Metrics metrics(folder.path());
  metrics.truncate_after(done);
  checkpoints.forget_after(done);
  Progress progress(context.log, {config.steps, done, config.batch, config.log_every});
  const auto save = [&](int64_t step) {
    const auto away = progress.exclude();
    write_atomically(checkpoints.begin(step) / "state", std::to_string(step));
    checkpoints.publish(step);
    write_training_report(folder, "demo");
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
    v("ready", ready, "file that says when");
  }
};

int hang(HangConfig& config, Context&) {  // never looks at the stop flag
  std::ofstream(config.ready) << "ready";
  for (;;) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

}  // namespace

int main(int argc, char** argv) {
  Program program{.name = "demo", .summary = "A demonstration.", .quickstart = "demo --preset tiny --out runs/tiny"};
  program.default_command = "train";
  program.add<DemoConfig>({.name = "train",
                           .help = "train",
                           .trains = true,
                           .presets = {{"tiny", "three steps", "steps = 3\nlr = 0.5\n[model]\ndim = 16\n"}},
                           .examples = {{"train three steps", "demo train --preset tiny --out runs/tiny"}}},
                          train);
  program.add<FailConfig>({.name = "fail", .help = "fail"}, fail);
  program.add<HangConfig>({.name = "hang", .help = "hang"}, hang);
  return run_program(program, argc, argv);
}
