// What a training step of each variant costs and how exact its target is, all of them at the same weights and on the same batch.
#pragma once

#include "apps/ablate/variants.h"

namespace fm {

struct StepCost {
  double target_error = 0;               // |target - exact| / |exact| on the rows with s < t, exact: the JVP's in f64, with the same w
  double derivative_error = 0;           // |du/dt - exact| / |exact|
  double seconds = 0, peak_mib = 0;      // of loss and gradients; memory beside weights and optimiser
};

// A student, the velocity that it is to follow, and a batch.
struct Subject {
  std::shared_ptr<const DitDh> student;
  VelocityNet velocity;
  Batch batch;
};

Subject trained_subject(TrainingRun& run);                 // of a run: its CMT checkpoint, teacher and latents
Subject untrained_subject(const Recipe& recipe);           // random weights, none of them zero, and random latents; recipe resolved

// One for each variant. The median of `rounds` rounds in which the variants take turns, so that other work on the machine slows all alike.
// Tells the log how far it is. ConfigError when no row of the batch has s < t; StopRequested.
std::vector<StepCost> step_costs(const Subject& subject, const std::vector<Variant>& list, std::int64_t rounds, Logger& log);

}  // namespace fm
