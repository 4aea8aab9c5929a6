// A stage's training on disk: the checkpoint it goes on from, and those it leaves.
#pragma once

#include <filesystem>
#include <optional>

#include "apps/train/loop.h"
#include "nn/checkpoint.h"
#include "tensor/collectives/communicator.h"

namespace fm {

class LoopCheckpoints {
 public:
  // All must outlive it.
  LoopCheckpoints(Stage& stage, const LoopConfig& loop, std::uint64_t seed, AdamW& optimizer, Context& context);

  // Loads what training goes on from, into the stage and the optimizer: its step; 0 where there is nothing yet. Tensors on all ranks; the first
  // one then moves checkpoints of later steps aside, and sets `latest`. FileError, ConfigError, before anything is written: a checkpoint cannot
  // be read, --resume names none, it does not fit the config, or it was made from other weights than stage.made_from.
  std::int64_t resume();

  // All ranks call it; the first one writes. `loss` is that of the step, for the message after a divergence.
  void save(std::int64_t step, double loss);

  // Which checkpoint there is to go on from after a divergence, with its loss, and what to do if it is from after the leap.
  std::string advice_after_divergence() const;

 private:
  // The newest checkpoint that this process loaded or wrote.
  struct Known {
    std::filesystem::path path;
    std::int64_t step = 0;
    std::optional<double> loss;            // checkpoints of older versions do not say
    bool loaded = false;
  };
  void tell_remedy() const;
  std::string choose();
  void check_made_from(const Checkpoint& found) const;
  void load(const Checkpoint& found);
  void go_on_from(const Checkpoint& found);
  bool alone() const { return ranks_.size() == 1; }

  Stage& stage_;
  const LoopConfig& loop_;
  std::uint64_t seed_;
  AdamW& optimizer_;
  Context& context_;
  Communicator& ranks_;
  CheckpointFolder checkpoints_;
  std::optional<Known> known_;
};

}  // namespace fm
