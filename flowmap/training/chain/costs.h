// The cost of an optimizer step of a flow stage, from the recipe alone: nothing is allocated, so the largest model takes no longer than the
// smallest. Printed by --dry-run.
//
// FLOPs are two for a multiply-add of linear layers, convolutions and attention's products (nn/flops/count.h). A backward pass counts as
// two forward passes, a tangent as one on its rows; rows with s < t count with their expected share. FLOPs are those of all ranks; memory
// is that of the rank with most.
#pragma once

#include <string>

#include "flowmap/training/chain/stages.h"

namespace fm {

struct StageCost {
  std::string name;
  const LoopConfig* loop = nullptr;
  std::int64_t trained = 0, frozen = 0, teacher = 0;                        // parameters
  // FLOPs per step; targets: passes of the teacher; encoder: images that are encoded during training.
  double forward = 0, tangent = 0, backward = 0, recompute = 0, targets = 0, encoder = 0;
  std::int64_t parts = 1;                                                    // micro-batches of the rank that has most rows
  double share = 1;                                                          // of the batch's rows, that rank's
  std::int64_t owned = 0;                                                    // trained parameters whose moments a rank keeps
  // Bytes. Gradients: two sets for a batch in parts (the sum and the part's); with several ranks also the buckets that are sent.
  std::int64_t weights = 0, gradients = 0, optimizer = 0, average = 0, teacher_weights = 0, autoencoder = 0;
  std::int64_t activations = 0, activations_kept = 0, activations_recomputed = 0;   // as configured; without and with dit.recompute
  std::int64_t rows = 0;                                                     // the rows of these activations

  double flops() const { return forward + tangent + backward + recompute + targets + encoder; }
  std::int64_t memory() const { return weights + gradients + optimizer + average + teacher_weights + autoencoder + activations; }
};

// ConfigError for a name that is not in the table of stages, or a stage without steps of its own.
const LoopConfig& stage_loop(const Recipe& recipe, const std::string& name);

// For a stage that trains a generator: ConfigError for another one. The recipe must be resolved and outlive the result. sharded: with
// --shard-optimizer. ConfigError if a batch has fewer rows than ranks.
StageCost stage_cost(const Recipe& recipe, const std::string& name, int ranks = 1, bool sharded = false);

}  // namespace fm
