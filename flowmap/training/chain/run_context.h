// What a program provides for a run of the chain. Errors name options as the programs' flags: "--out" for RunOptions::out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/report/metrics.h"
#include "nn/training/loop.h"
#include "nn/training/messages.h"
#include "nn/training/ranks.h"

namespace fm {

// How and where a run is executed, as opposed to what it computes (Recipe).
struct RunOptions {
  std::string config_file, out;
  std::string own_config;             // the run's config.toml, read if there is no config_file; empty: not read
  std::string resume = "auto";        // auto: the newest checkpoint in `out`; never; or the path of a checkpoint
  bool fresh = false;                 // an existing run is moved aside, and a new one begins
  std::string init_from;              // a checkpoint whose weights begin a new run; empty: none
  bool init_from_ema = false;         // take the averaged weights of init_from
  bool dry_run = false;               // build the models and report on them, but write nothing
  bool cuda_graph = false;            // steps on a GPU are recorded once and replayed
  bool shard_optimizer = false;       // moments and averages are divided among the ranks
  std::string trace;                  // the file to write the timeline of one step to; empty: none
};

// The options, messages and ranks must outlive the run.
struct RunContext {
  RunOptions& launch;
  Messages& log;
  Ranks& ranks;
  std::string command = "pipeline";   // the stage that is trained, or "pipeline"; anything else trains nothing
  bool only_reads = false;            // samples or scores a run, trains nothing
  bool variants = false;              // an ablation: the stage is trained several times, in other folders than the run's own stage
  std::string build = {};             // compiler, flags and commit that decide the bits of a training; part of a variant's identity
  // Called before long work with the name of the work and its number of items. Returns a function that is called with the number of finished items. This
  // function may throw to end the work. Empty: no reports.
  std::function<std::function<void(std::int64_t done)>(const std::string& what, std::int64_t total)> progress = {};
  // Trains a stage. Empty: train() with RunFiles (flowmap/training/run_files.h) trains it.
  std::function<Outcome(Stage& stage, const LoopConfig& loop, std::uint64_t seed, LogFiles files)> train = {};
};

// Trains a stage by context.train or, if that is empty, by train(), whose checkpoints store `fields`. Adds texts that the stage lacks: remedies for
// explosions, and the reason why a stage without latents is not recorded.
Outcome train_stage(Stage& stage, const LoopConfig& loop, std::uint64_t seed, LogFiles files, const std::vector<Field>& fields, RunContext& context);

}  // namespace fm
