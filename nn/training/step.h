// One optimizer step of a stage on this rank: forward and backward passes of its micro-batches, the sum of gradients over ranks, and the update.
#pragma once

#include <memory>

#include "autodiff/tape.h"
#include "nn/optim/gradient_buckets.h"
#include "nn/training/loop.h"
#include "nn/training/parallel.h"
#include "nn/training/recorded_step.h"
#include "nn/training/step_numbers.h"
#include "nn/training/trace.h"

namespace fm {

class LoopStep {
 public:
  // All arguments must outlive this object. ConfigError if a batch has fewer rows than there are ranks.
  LoopStep(Stage& stage, const LoopConfig& loop, AdamW& optimizer, const TrainOptions& options, Communicator& ranks, LoopObserver& observer);

  // For TrainOptions::cuda_graph: records steps from now on, or warns with the reason why that is not possible. ConfigError without a GPU or with more
  // than one rank.
  void prepare_recording();

  // Trains from `step` to `step` + 1, and calls Stage::after_step. DivergedError, on all ranks together, if the loss is known and not finite.
  StepNumbers run(std::int64_t step);
  StepNumbers run_traced(std::int64_t step);       // also writes the step's timeline to TrainOptions::trace

  void scale_rate(double scale);                   // factor of the learning rates of all optimizers of the stage, from the next step on

  const Agreed& agreed() const { return agreed_; } // what all ranks agreed on after the last step; default values with one rank

 private:
  StepNumbers computed(std::int64_t step);
  StepLoss forward(std::int64_t step, std::size_t part) const;
  StepPart part_of(std::int64_t step, std::size_t part) const;
  Gradients summed_over_ranks(const Var& loss, Gradients* earlier);
  bool alone() const { return ranks_.size() == 1; }

  Stage& stage_;
  const LoopConfig& loop_;
  AdamW& optimizer_;
  const TrainOptions& options_;
  Communicator& ranks_;
  LoopObserver& observer_;
  std::vector<RowRange> rows_;                     // this rank's rows of each batch
  std::unique_ptr<GradientBuckets> buckets_;       // null with one rank
  std::unique_ptr<RecordedStep> recorded_;         // null: steps are not recorded
  Agreed agreed_;
  double rate_scale_ = 1;
  std::shared_ptr<Trace> trace_;                   // timeline of the step that is traced
};

}  // namespace fm
