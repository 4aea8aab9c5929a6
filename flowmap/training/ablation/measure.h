// Measures the cost of a training step of each variant and the error of its target, on one batch with the variant's initial weights.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "flowmap/training/ablation/variants.h"
#include "flowmap/training/joint_generator.h"

namespace fm {

struct StepCost {
  // Relative errors |x - exact| / |exact| of x = target and x = du/dt on the rows with s < t. exact: from the JVP in f64, with the same w. NaN if exact is
  // 0, and for stages that do not train by MeanFlow.
  double target_error = 0, derivative_error = 0;
  double seconds = 0, peak_mib = 0;      // time and peak memory of loss and gradients; memory without weights and optimizer
  double spread = 0;                     // (largest - smallest) / median of the rounds' seconds
};

// Provides what step_costs() measures: students with the weights of the stage `start`, the teacher's velocity, and batches.
class Subject {
 public:
  virtual ~Subject() = default;
  virtual Network student(const std::string& start) = 0;
  // The velocity of the recipe's teacher, with the recipe's guidance. `on_data`: batches must hold what it takes beside latents.
  virtual TeacherVelocity velocity(const Recipe& recipe, bool on_data) = 0;
  virtual Batch batch(std::int64_t rows, std::uint64_t seed) = 0;
};

std::unique_ptr<Subject> trained_subject(TrainingRun& run);            // with checkpoints, teacher and latents of a run
// Random weights, also in layers that begin at 0, and random latents. The recipe must be resolved.
std::unique_ptr<Subject> untrained_subject(const Recipe& recipe);

// Returns the cost of a step of each variant. The time is the median of `rounds` rounds in which the variants take turns, so that other work on the
// machine slows all of them alike. If a training has two parts, the time is the mean over their steps, the memory is the larger one, and the errors are
// those of the first part. Steps of the map stage may follow a schedule: the time is the mean, and the memory the largest, of the first, the middle and
// the last step. `clock` returns the seconds since a fixed moment; empty: the machine's clock. ConfigError if no row of the batch has s < t. An interrupt
// ends the measurement with the exception of check_interrupt (tensor/interrupt.h).
std::vector<StepCost> step_costs(Subject& subject, const std::vector<Variant>& list, std::uint64_t seed, std::int64_t rounds, Messages& log,
                                 const std::function<double()>& clock = {});

// Returns the cost of a step in forward passes of the student over one row, added up over the rows of the batch. A forward pass costs 1, a backward pass
// 2, derivative and teacher by their kind (flowmap/training/chain/costs.h).
double evaluations_a_step(const Variant& variant);

// Sets the steps of all variants but the first so that each uses as much of the resource `equal` as the first: "time" (from the seconds in `costs`) or
// "evaluations" (evaluations_a_step; `costs` may be empty). "steps" changes nothing. Each variant gets at least one step.
void equalise(std::vector<Variant>& list, const std::string& equal, const std::vector<StepCost>& costs);

}  // namespace fm
