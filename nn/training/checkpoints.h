// The checkpoints of a training: finds the checkpoint to resume from, writes new checkpoints, and moves aside those that the run must not find later.
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
  // All arguments must outlive this object.
  LoopCheckpoints(Stage& stage, const LoopConfig& loop, std::uint64_t seed, AdamW& optimizer, const TrainOptions& options, Communicator& ranks,
                  LoopObserver& observer);

  // Loads the checkpoint to resume from into the stage and the optimizer, and returns its step; 0 if there is no checkpoint. All ranks load the tensors.
  // The first rank then moves checkpoints of later steps aside, and sets `latest`. FileError or ConfigError, before anything is written, if a checkpoint
  // cannot be read, the one in TrainOptions::resume does not exist, it does not fit the config, or it was made from other weights than stage.made_from.
  std::int64_t resume();

  // Loads the newest checkpoint before the step `before` (counted from 1) that was saved while training was calm (LoopWatch::calm), and moves later
  // ones aside ("exploded"). If this would be the checkpoint of step `tried` (-1: none), which a rewind has loaded before, it loads an earlier one if
  // one exists, because `tried` may already contain the explosion. Returns the loaded step; -1 if there is no such checkpoint. All ranks call it.
  std::int64_t rewind(std::int64_t before, std::int64_t tried);

  // Saves a checkpoint. All ranks call it; the first one writes. `loss` is the loss of the step, for the message after a divergence. `watch` is the state
  // of LoopWatch. With `best` the link checkpoints/best points to this checkpoint, which is then kept.
  void save(std::int64_t step, double loss, const nlohmann::ordered_json& watch, bool best);

  // The loss that the last loaded or saved checkpoint recorded; NaN if it recorded none.
  double loss() const { return known_ && known_->loss ? *known_->loss : std::nan(""); }

  // The state of LoopWatch in the last loaded checkpoint; null if it has none.
  const nlohmann::ordered_json& watch() const { return watch_; }

  // For the message after a divergence: the checkpoint to resume from, its loss, and the remedy if it already contains the explosion.
  std::string advice_after_divergence() const;
  // The remedy: "resume from the one before it with --resume PATH, or begin anew with --fresh".
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
  void point_best();
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
  nlohmann::ordered_json earlier_sources_;   // made_from of the loaded checkpoint: entries that this training lacks stay in its checkpoints
};

}  // namespace fm
