// The cost of an optimizer step of a flow stage, computed from the recipe alone. Nothing is allocated, so a large model takes no longer than a small
// one. --dry-run prints the costs.
//
// A multiply-add of linear layers, convolutions and attention's products counts as two FLOPs (nn/flops/count.h). A backward pass counts as two forward
// passes, a tangent as one forward pass over its rows. Rows with s < t are counted by their expected share of the batch. FLOPs are those of all ranks
// together; memory is that of the rank that needs most.
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
  double share = 1;                                                          // share of the batch's rows that this rank (with most rows) has
  std::int64_t owned = 0;                                                    // trained parameters whose moments a rank keeps
  // Bytes. Gradients: up to two sets for a batch in parts (the sum and the part's), up to three with several ranks (also the buckets that are sent).
  std::int64_t weights = 0, gradients = 0, optimizer = 0, average = 0, teacher_weights = 0, autoencoder = 0;
  std::int64_t activations = 0, activations_kept = 0, activations_recomputed = 0;   // in this order: as configured, without dit.recompute, with it
  std::int64_t rows = 0;                                                     // number of rows that have these activations

  double flops() const { return forward + tangent + backward + recompute + targets + encoder; }
  std::int64_t memory() const { return weights + gradients + optimizer + average + teacher_weights + autoencoder + activations; }
};

// Returns the loop of the stage with this name. ConfigError if no stage has the name, or if the stage has no training.
const LoopConfig& stage_loop(const Recipe& recipe, const std::string& name);

// Returns the cost of the stage with this name. ConfigError if it trains no generator, or if its batch has fewer rows than ranks. The recipe must be
// resolved and outlive the result. sharded: with --shard-optimizer.
StageCost stage_cost(const Recipe& recipe, const std::string& name, int ranks = 1, bool sharded = false);

}  // namespace fm
