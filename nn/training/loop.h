// The training loop of all stages, on one rank or several: steps, optimizer, averages, checkpoints, detection of explosions, stopping and resuming.
//
//   MyNet net; reset_parameters(net, seed); MyNet average = clone(net);
//   Stage stage = make_stage("net", net, &average);
//   stage.loss = [&](const StepPart& part) { return StepLoss{loss_of_rows(net, part), {}}; };     // a pure function of the step
//   SingleRank alone;
//   RunFiles files;                                                                              // flowmap/training/run_files.h, or another LoopObserver
//   train(stage, {.steps = 1000, .batch = 64}, seed, {.out = "runs/a"}, alone, files);            // the same line resumes the run
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

// Bounds of the ranges: random draws use the step as a 32-bit number, and the number of samples, steps x batch, must fit into 64 bits.
struct LoopConfig {
  std::int64_t steps = 1000, batch = 128, micro_batch = 0;
  LearningRate rate = {};
  AdamWConfig adamw = {};
  double ema = 0.999;
  bool ema_ramp = true;
  std::int64_t log_every = 50, ckpt_every = 500, sample_every = 0, score_every = 0, keep = 2, keep_every = 0;

  template <class V> void visit(V&& v) {
    v("steps", steps, "optimizer steps", range(0, 4e9), basic());
    v("batch", batch, "samples per step", range(1, 1e9), basic());
    v("micro_batch", micro_batch, "samples per forward and backward pass, which saves memory; 0: the whole batch", range(0, 1e9));
    v("rate", rate, "learning rate");
    v("adamw", adamw, "AdamW optimizer");
    v("ema", ema, "decay of the moving average of the weights", range(0, 1));
    v("ema_ramp", ema_ramp, "lower decay in the first steps, so that even in a short run the average moves away from the initial weights; false: the decay is always ema");
    v("log_every", log_every, "steps between lines of the log", range(1, 4e9));
    v("ckpt_every", ckpt_every, "steps between checkpoints", range(1, 4e9));
    v("sample_every", sample_every, "steps between sample grids; 0: only at the end; -1: never", range(-1, 4e9));
    v("score_every", score_every, "steps between scores of the averaged weights, measured as evaluate does and written to metrics.csv, where --keep-best can name them; 0: none", range(0, 4e9));
    v("keep", keep, "number of newest checkpoints to keep", range(1, 1e6));
    v("keep_every", keep_every, "interval between checkpoints that are never deleted, in steps; 0: none", range(0, 4e9));
  }
};

// The names of options in errors and warnings. A program sets its own names, such as "--resume", in place of the fields of this header.
struct OptionNames {
  std::string out = "TrainOptions::out", resume = "TrainOptions::resume", cuda_graph = "TrainOptions::cuda_graph";
  std::string fresh = {};                // the option that moves an old run aside; empty if the program has none

  // The options for beginning anew: "--fresh or another --out".
  std::string anew() const { return (fresh.empty() ? "" : fresh + " or ") + "another " + out; }
};

// How and where to train. Stage and LoopConfig define what is trained.
struct TrainOptions {
  std::filesystem::path out;             // folder of the run; checkpoints are in out/<stage>/checkpoints
  std::string resume = "auto";           // "auto": from the newest checkpoint; "never": ConfigError if there is one; else the path of a checkpoint
  bool cuda_graph = false;               // steps on a GPU are recorded once and replayed; one rank only
  bool shard_optimizer = false;          // each rank keeps the moments and averages of a part of the parameters
  std::filesystem::path trace = {};      // file for the timeline of one step (nn/training/trace.h); empty: none
  std::vector<Field> fields = {};        // the config that checkpoints store, if the stage has none of its own
  std::string facts = {};                // further facts that must be equal on all ranks: " by build 1a2b3c"
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

// Trains `stage` in the folder out/stage.name up to step loop.steps. Resumes from its newest checkpoint, if there is one. Afterwards the modules hold
// the trained weights. All ranks call it with the same arguments. ConfigError if the checkpoint was made from other weights than stage.made_from
// (another encoder or teacher). DivergedError if the loss or the gradient is not finite, or if stage.watch ends the training; the last checkpoint is
// then intact. The function itself reads no environment, signals or terminal: only `observer` may.
Outcome train(Stage& stage, const LoopConfig& loop, std::uint64_t seed, const TrainOptions& options, Communicator& ranks, LoopObserver& observer);

}  // namespace fm
