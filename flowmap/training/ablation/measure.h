// The cost of a training step of each variant and the error of its target, at the variant's initial weights, on one batch.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "flowmap/training/ablation/variants.h"

namespace fm {

struct StepCost {
  // |target - exact| / |exact| and |du/dt - exact| / |exact| on the rows with s < t; exact: the JVP in f64, with the same w. NaN where du/dt is 0, and of
  // objectives other than MeanFlow's stages.
  double target_error = 0, derivative_error = 0;
  double seconds = 0, peak_mib = 0;      // of loss and gradients; memory beside weights and optimizer
  double spread = 0;                     // of the rounds' seconds, (largest - smallest) / median
};

// Students by the stage that they start from, the teacher, and batches.
class Subject {
 public:
  virtual ~Subject() = default;
  virtual Network student(const std::string& start) = 0;
  virtual VelocityNet velocity(const Recipe& recipe) = 0;      // of its teacher, with its guidance
  virtual Batch batch(std::int64_t rows, std::uint64_t seed) = 0;
};

std::unique_ptr<Subject> trained_subject(TrainingRun& run);            // checkpoints, teacher and latents of a run
std::unique_ptr<Subject> untrained_subject(const Recipe& recipe);      // random weights, none of them zero, and random latents; recipe resolved

// One for each variant. Time is the median of `rounds` rounds in which the variants take turns, so that other work on the machine slows all
// alike. Of a training in two parts time is their mean by steps, memory the larger, and errors are the first part's. Of an objective, whose steps may
// follow a schedule, time is the mean and memory the largest of its first, middle and last step. `clock` returns the seconds since any moment; empty: the
// machine's. ConfigError when no row of the batch has s < t; StopRequested.
std::vector<StepCost> step_costs(Subject& subject, const std::vector<Variant>& list, std::uint64_t seed, std::int64_t rounds, Messages& log,
                                 const std::function<double()>& clock = {});

// Forward passes a step, in passes of the student over one batch row: forward 1, backward 2, derivative and teacher by their kind
// (flowmap/training/chain/costs.h); times the rows of the batch.
double evaluations_a_step(const Variant& variant);

// Sets the steps of all variants but the first, so that they have equally much of it: "time" by costs (seconds a step), or "evaluations".
// `costs` may be empty for the latter. A variant gets one step at least.
void equalise(std::vector<Variant>& list, const std::string& equal, const std::vector<StepCost>& costs);

}  // namespace fm
