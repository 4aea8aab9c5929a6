// The checkpoints of a training: the one it resumes from, those it writes, and those it moves aside.
#pragma once

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "nn/checkpoint.h"
#include "nn/training/loop.h"
#include "tensor/collectives/communicator.h"

namespace fm {

class LoopCheckpoints {
 public:
  // All must outlive it.
  LoopCheckpoints(Stage& stage, const LoopConfig& loop, std::uint64_t seed, AdamW& optimizer, const TrainOptions& options, Communicator& ranks,
                  LoopObserver& observer);

  // Loads the checkpoint to resume from into the stage and the optimizer, and returns its step; 0 if there is none yet. Tensors on all ranks; the first
  // one then moves checkpoints of later steps aside, and sets `latest`. FileError or ConfigError before anything is written: a checkpoint cannot
  // be read, the one in TrainOptions::resume does not exist, it does not fit the config, or it was made from other weights than stage.made_from.
  std::int64_t resume();

  // Loads the newest checkpoint before this step (counted from 1) that was saved while training was calm, and moves later ones aside ("exploded").
  // If that is `tried` (a step; -1: none), it loads the one before, if there is one, because `tried` may already contain the explosion. Returns its step, or
  // -1 if there is none. All ranks call it.
  std::int64_t rewind(std::int64_t before, std::int64_t tried);

  // All ranks call it; the first one writes. `loss` is that of the step, for the message after a divergence; `watch` is LoopWatch's state. The best
  // checkpoint is kept, as checkpoints/best.
  void save(std::int64_t step, double loss, const nlohmann::ordered_json& watch, bool best);

  // The loss at the step of the newest checkpoint that was loaded or saved; NaN if not recorded.
  double loss() const { return known_ && known_->loss ? *known_->loss : std::nan(""); }

  // LoopWatch's record in the last loaded checkpoint; null without one.
  const nlohmann::ordered_json& watch() const { return watch_; }

  // After a divergence: which checkpoint a training can resume from, its loss, and the remedy if it already contains the explosion.
  std::string advice_after_divergence() const;
  // The second part of it: "resume from the one before it with --resume PATH, or begin anew with --fresh".
  std::string way_back() const;

 private:
  // The newest checkpoint that this process loaded or wrote.
  struct Known {
    std::filesystem::path path;
    std::int64_t step = 0;
    std::optional<double> loss;            // not in checkpoints of older versions
    bool loaded = false;
  };
  void note_loaded(const Checkpoint& found);
  std::string choose();
  std::string last_calm(std::int64_t before, std::int64_t tried) const;
  void check_made_from(const Checkpoint& found) const;
  void load(const Checkpoint& found);
  void resume_from(const Checkpoint& found);
  bool alone() const { return ranks_.size() == 1; }

  Stage& stage_;
  const LoopConfig& loop_;
  std::uint64_t seed_;
  AdamW& optimizer_;
  const TrainOptions& options_;
  Communicator& ranks_;
  LoopObserver& observer_;
  CheckpointFolder checkpoints_;
  std::optional<Known> known_;
  nlohmann::ordered_json watch_;
};

}  // namespace fm
