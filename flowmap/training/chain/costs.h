// What an optimiser step of a flow stage costs, from the recipe alone: nothing is allocated, so the largest model takes no longer than the
// smallest. Printed by --dry-run.
//
// FLOPs are two for a multiply-add of linear layers, convolutions and attention's products (nn/flops/count.h). A backward pass counts as
// two forward passes, a tangent as one on its rows; rows with s < t are taken at their expected share. They are those of all ranks; memory
// is one rank's, of the one that needs most.
#pragma once

#include <string>

#include "flowmap/training/chain/stages.h"

namespace fm {

struct StageCost {
  std::string name;
  const LoopConfig* loop = nullptr;
  std::int64_t trained = 0, frozen = 0, teacher = 0;                        // parameters
  // FLOPs a step; targets: passes of the teacher; encoder: of pictures that are encoded as they are needed.
  double forward = 0, tangent = 0, backward = 0, recompute = 0, targets = 0, encoder = 0;
  std::int64_t parts = 1;                                                    // micro-batches of the rank that has most rows
  double share = 1;                                                          // of the batch's rows, that rank's
  std::int64_t owned = 0;                                                    // trained parameters whose moments a rank keeps
  // Bytes. Gradients: two sets where a batch comes in parts, the sum and the part's; among several ranks the buckets that are sent as well.
  std::int64_t weights = 0, gradients = 0, optimiser = 0, average = 0, teacher_weights = 0, autoencoder = 0;
  std::int64_t activations = 0, activations_kept = 0, activations_recomputed = 0;   // as configured; without and with dit.recompute
  std::int64_t rows = 0;                                                     // that the activations are of

  double flops() const { return forward + tangent + backward + recompute + targets + encoder; }
  std::int64_t memory() const { return weights + gradients + optimiser + average + teacher_weights + autoencoder + activations; }
};

// ConfigError for a name that is not in the table of stages, or a stage without steps of its own.
const LoopConfig& stage_loop(const Recipe& recipe, const std::string& name);

// Of a stage that trains a generator: ConfigError for another one. The recipe must be resolved and outlive the result. sharded: with
// --shard-optimizer. ConfigError where a batch has fewer rows than there are ranks.
StageCost stage_cost(const Recipe& recipe, const std::string& name, int ranks = 1, bool sharded = false);

}  // namespace fm
