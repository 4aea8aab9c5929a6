// A stage's training on disk: the checkpoint it goes on from, and those it leaves.
#pragma once

#include <filesystem>

#include "apps/train/loop.h"
#include "nn/checkpoint.h"
#include "tensor/collectives/communicator.h"

namespace fm {

class LoopCheckpoints {
 public:
  // All must outlive it.
  LoopCheckpoints(Stage& stage, const LoopConfig& loop, std::uint64_t seed, AdamW& optimizer, Context& context);

  // Loads what training goes on from, into the stage and the optimiser: its step; 0 where there is nothing yet. Tensors on all ranks; the first
  // one deletes checkpoints of later steps. FileError, ConfigError: --resume names none, it does not fit the config, or it was made from
  // other weights than stage.made_from.
  std::int64_t resume();

  // All ranks call it; the first one writes.
  void save(std::int64_t step);

 private:
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
};

}  // namespace fm
