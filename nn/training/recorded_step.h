// Steps of a stage recorded as a CUDA graph (TrainOptions::cuda_graph): the host makes the random draws of each step, and one call replays all other work.
#pragma once

#include <memory>

#include "nn/training/step_numbers.h"
#include "tensor/graph.h"

namespace fm {

class RecordedStep {
 public:
  // Both arguments must outlive this object. stage.drawn and stage.loss_of must be set.
  RecordedStep(const Stage& stage, AdamW& optimizer) : stage_(stage), optimizer_(optimizer) {}

  // Makes the step on these rows, which must be the whole batch. Its numbers are valid until the next step. If the draws have other shapes or another
  // form() than the recorded ones, the step is recorded again.
  StepNumbers run(const StepPart& part, double lr);

 private:
  struct Numbers {
    StepNumbers::Part part;
    Late gradient_norm;
  };
  Numbers record(AnyDrawn drawn, double lr);
  bool fits_recording(const AnyDrawn& drawn) const;

  const Stage& stage_;
  AdamW& optimizer_;
  std::unique_ptr<Graph> graph_;
  AnyDrawn drawn_;                       // the recording reads these tensors; each step overwrites them
  Numbers numbers_;                      // numbers of the recording, which each replay overwrites
};

}  // namespace fm
