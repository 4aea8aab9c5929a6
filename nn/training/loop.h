// The training loop that every stage shares: order of steps, optimizer, averages, checkpoints, watching, stopping and resuming, on one rank or
// several.
//
//   MyNet net; reset_parameters(net, seed); MyNet average = clone(net);
//   Stage stage = make_stage("net", net, &average);
//   stage.loss = [&](const StepPart& part) { return StepLoss{loss_of_rows(net, part), {}}; };     // a pure function of the step
//   SingleRank alone;
//   RunFiles files;                                                                              // flowmap/training/run_files.h, or any LoopObserver
//   train(stage, {.steps = 1000, .batch = 64}, seed, {.out = "runs/a"}, alone, files);            // the same line resumes it
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "nn/optim/adamw.h"
#include "nn/optim/schedule.h"
#include "nn/training/observer.h"
#include "nn/training/stage.h"
#include "tensor/collectives/communicator.h"

namespace fm {

// Bounds: draws are numbered by the step in 32 bits, and steps x batch, the number of samples, must fit into 64.
struct LoopConfig {
  std::int64_t steps = 1000, batch = 128, micro_batch = 0;
  LearningRate rate = {};
  AdamWConfig adamw = {};
  double ema = 0.999;
  bool ema_ramp = true;
  std::int64_t log_every = 50, ckpt_every = 500, sample_every = 0, keep = 2, keep_every = 0;

  template <class V> void visit(V&& v) {
    v("steps", steps, "optimizer steps", range(0, 4e9), basic());
    v("batch", batch, "samples per step", range(1, 1e9), basic());
    v("micro_batch", micro_batch, "samples whose activations are held at a time; 0: the batch", range(0, 1e9));
    v("rate", rate, "learning rate");
    v("adamw", adamw, "AdamW optimizer");
    v("ema", ema, "decay of the averaged weights", range(0, 1));
    v("ema_ramp", ema_ramp, "low decay at the beginning, so that the average of a short run leaves its initial weights");
    v("log_every", log_every, "steps between lines of the log", range(1, 4e9));
    v("ckpt_every", ckpt_every, "steps between checkpoints", range(1, 4e9));
    v("sample_every", sample_every, "steps between sample grids; 0: only at the end; -1: never", range(-1, 4e9));
    v("keep", keep, "number of newest checkpoints that are kept", range(1, 1e6));
    v("keep_every", keep_every, "interval in steps of checkpoints that are never deleted; 0: none", range(0, 4e9));
  }
};

// How errors and warnings name options, so that the user of a program finds them: "--resume" instead of the field of this header.
struct OptionNames {
  std::string out = "TrainOptions::out", resume = "TrainOptions::resume", cuda_graph = "TrainOptions::cuda_graph";
  std::string fresh = {};                // moves an old run aside; empty: the program has no such option

  // How to begin anew: "--fresh or another --out".
  std::string anew() const { return (fresh.empty() ? "" : fresh + " or ") + "another " + out; }
};

// How and where to train, as opposed to what.
struct TrainOptions {
  std::filesystem::path out;             // of the run; checkpoints lie in out/<stage>/checkpoints
  std::string resume = "auto";           // "auto": from the newest checkpoint; "never": ConfigError if one exists; or the path of a checkpoint
  bool cuda_graph = false;               // steps on a GPU are recorded once and replayed; one rank only
  bool shard_optimizer = false;          // moments and averages are kept in parts, each by one rank
  std::filesystem::path trace = {};      // one step is drawn into this file (nn/training/trace.h); empty: none
  std::vector<Field> fields = {};        // the config that checkpoints store, if the stage has none of its own
  std::string facts = {};                // must be equal on all ranks, beside the config: " by build 1a2b3c"
  OptionNames names = {};

  std::filesystem::path folder(const Stage& stage) const { return out / stage.name; }
  std::filesystem::path checkpoints(const Stage& stage) const { return folder(stage) / "checkpoints"; }
  const std::vector<Field>& fields_of(const Stage& stage) const { return stage.fields.empty() ? fields : stage.fields; }
};

struct TrainingSetup {
  const Stage& stage;
  const LoopConfig& loop;
  const TrainOptions& options;
  const Communicator& ranks;
  std::uint64_t seed;
};

// Trains `stage` in the folder out/stage.name until loop.steps, from its newest checkpoint if it exists. Afterwards the modules hold the
// newest weights. All ranks call it, with the same arguments. ConfigError if that checkpoint was made from other weights than stage.made_from
// (another encoder, another teacher). DivergedError if the loss or the gradient is no longer finite, or by stage.watch (the last checkpoint
// is intact). Reads the environment, signals and terminal through `observer` alone.
Outcome train(Stage& stage, const LoopConfig& loop, std::uint64_t seed, const TrainOptions& options, Communicator& ranks, LoopObserver& observer);

}  // namespace fm
