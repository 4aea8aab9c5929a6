// Steps of a stage recorded as a CUDA graph (--cuda-graph): what the host makes of a step is made as ever, all else is one call.
#pragma once

#include <memory>

#include "apps/train/step_numbers.h"
#include "tensor/graph.h"

namespace fm {

class RecordedStep {
 public:
  // Both must outlive it. stage.inputs and stage.loss_of are there.
  RecordedStep(const Stage& stage, AdamW& optimizer) : stage_(stage), optimizer_(optimizer) {}

  // The step on these rows, all of the batch; what it tells stands until the next one. Inputs of other shapes are recorded anew.
  StepNumbers run(const StepPart& part, double lr);

 private:
  struct Told {
    StepNumbers::Part part;
    Late gradient_norm;
  };
  Told record(const StepInputs& inputs, double lr);
  bool same_shapes(const StepInputs& inputs) const;

  const Stage& stage_;
  AdamW& optimizer_;
  std::unique_ptr<Graph> graph_;
  StepInputs inputs_;                    // the graph's own
  Told told_;                            // of what was recorded
};

}  // namespace fm
