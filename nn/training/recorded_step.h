// Steps of a stage recorded as a CUDA graph (TrainOptions::cuda_graph): the host draws each step as ever, all other work is one call.
#pragma once

#include <memory>

#include "nn/training/step_numbers.h"
#include "tensor/graph.h"

namespace fm {

class RecordedStep {
 public:
  // Both must outlive it. stage.drawn and stage.loss_of are set.
  RecordedStep(const Stage& stage, AdamW& optimizer) : stage_(stage), optimizer_(optimizer) {}

  // The step on these rows, all of the batch; its numbers are valid until the next one. Draws of other shapes or another form are recorded anew.
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
  AnyDrawn drawn_;                       // the recording reads from its tensors, which are overwritten at each step
  Numbers numbers_;                      // of the recording
};

}  // namespace fm
