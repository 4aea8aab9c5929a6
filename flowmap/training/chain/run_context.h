// The program around a run of the chain. Errors name options by the programs' flags: RunOptions::out is "--out".
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
  bool init_from_ema = false;         // its averaged weights
  bool dry_run = false;               // resolve, build, report; write nothing
  bool cuda_graph = false;            // steps on a GPU are recorded once and replayed
  bool shard_optimizer = false;       // moments and averages are kept in parts, each by one rank
  std::string trace;                  // a file for the timeline of one step
};

// The options, messages and ranks must outlive the run.
struct RunContext {
  RunOptions& launch;
  Messages& log;
  Ranks& ranks;
  std::string command = "pipeline";   // the stage that is trained, or "pipeline"; anything else trains nothing
  bool only_reads = false;            // samples or scores a run, trains nothing
  bool variants = false;              // the stage is trained several times, in folders of its own beside the run's
  std::string build = {};             // compiler, flags and commit that decide the bits of a training; part of a variant's identity
  // Called with the finished part of `total` during that work. May throw to end the work. Empty: no reports.
  std::function<std::function<void(std::int64_t done)>(const std::string& what, std::int64_t total)> progress = {};
  // Trains a stage. None: train() with RunFiles (flowmap/training/run_files.h).
  std::function<Outcome(Stage& stage, const LoopConfig& loop, std::uint64_t seed, LogFiles files)> train = {};
};

// Trains by context.train (see its comment), with checkpoints that store `fields`. Adds remedies for explosions of flow maps, and the reason why other stages are not recorded.
Outcome train_stage(Stage& stage, const LoopConfig& loop, std::uint64_t seed, LogFiles files, const std::vector<Field>& fields, RunContext& context);

}  // namespace fm
