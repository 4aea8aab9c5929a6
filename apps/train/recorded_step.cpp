#include "apps/train/recorded_step.h"

#include <utility>

#include "autodiff/rules/elementwise.h"

namespace fm {

bool RecordedStep::same_shapes(const StepInputs& inputs) const {
  if (!graph_ || inputs.off_diagonal != inputs_.off_diagonal) return false;
  for (std::size_t i = 0; i < inputs.tensors.size(); ++i)
    if (inputs.tensors[i].shape() != inputs_.tensors[i].shape()) return false;
  return true;
}

// What the first step told: that of the recording is told when it is replayed.
RecordedStep::Told RecordedStep::record(const StepInputs& inputs, double lr) {
  Told first;
  told_ = {};
  graph_ = std::make_unique<Graph>();
  inputs_ = {{}, inputs.off_diagonal};
  for (const Tensor& t : inputs.tensors) inputs_.tensors.push_back(t.clone());
  graph_->record([&] {
    Tape tape;
    const StepLoss part = stage_.loss_of(inputs_);
    first = std::exchange(told_, {{part.loss.value(), 1, part.metrics}, optimizer_.step(backward(part.loss), {.lr = lr}).gradient_norm});
  });
  return first;
}

StepNumbers RecordedStep::run(const StepPart& part, double lr) {
  const StepInputs inputs = stage_.inputs(part);
  Told told;
  if (!same_shapes(inputs)) {
    told = record(inputs, lr);
  } else {
    for (std::size_t i = 0; i < inputs.tensors.size(); ++i) inputs_.tensors[i].copy_from(inputs.tensors[i]);
    optimizer_.repeat({.lr = lr});
    graph_->replay();
    told = told_;
  }
  return {.step = part.step + 1, .parts = {told.part}, .gradient_norm = told.gradient_norm, .lr = lr};
}

}  // namespace fm
