// What an optimiser step of a flow stage costs, from the recipe alone: nothing is allocated, so the largest model takes no longer than the
// smallest. Printed by --dry-run.
//
// FLOPs are two for a multiply-add of linear layers, convolutions and attention's products (nn/flops/count.h). A backward pass counts as
// two forward passes, a tangent as one on its rows; rows with s < t are taken at their expected share.
#pragma once

#include <string>

#include "apps/train/recipe.h"

namespace fm {

struct StageCost {
  std::string name;
  const LoopConfig* loop = nullptr;
  std::int64_t trained = 0, frozen = 0, teacher = 0;                        // parameters
  double forward = 0, tangent = 0, backward = 0, recompute = 0, targets = 0;   // FLOPs a step; targets: passes of the teacher
  // Bytes. Gradients: two sets where a batch comes in parts, the sum and the part's.
  std::int64_t weights = 0, gradients = 0, optimiser = 0, average = 0, teacher_weights = 0, autoencoder = 0;
  std::int64_t activations = 0, activations_kept = 0, activations_recomputed = 0;   // as configured; without and with dit.recompute
  std::int64_t rows = 0;                                                     // that the activations are of

  double flops() const { return forward + tangent + backward + recompute + targets; }
  std::int64_t memory() const { return weights + gradients + optimiser + average + teacher_weights + autoencoder + activations; }
};

// name: fm, cmt, mfd or mft. The recipe must be resolved and outlive the result.
StageCost stage_cost(const Recipe& recipe, const std::string& name);

}  // namespace fm
