#include "nn/training/recorded_step.h"

#include <utility>

#include "autodiff/rules/elementwise.h"

namespace fm {

bool RecordedStep::fits_recording(const AnyDrawn& drawn) const {
  if (!graph_ || drawn.form != drawn_.form || drawn.tensors.size() != drawn_.tensors.size()) return false;
  for (std::size_t i = 0; i < drawn.tensors.size(); ++i) {
    const Tensor &now = *drawn.tensors[i], &recorded = *drawn_.tensors[i];
    if (now.defined() != recorded.defined()) return false;
    if (now.defined() && (now.shape() != recorded.shape() || now.dtype() != recorded.dtype())) return false;
  }
  return true;
}

// Makes and records the step. Returns the numbers of this step; numbers_ then belong to the recording, and are valid after a replay.
RecordedStep::Numbers RecordedStep::record(AnyDrawn drawn, double lr) {
  Numbers first;
  numbers_ = {};
  graph_ = std::make_unique<Graph>();
  drawn_ = std::move(drawn);
  for (Tensor* t : drawn_.tensors)
    if (t->defined()) *t = t->clone();                 // in memory that nothing else writes to
  graph_->record([&] {
    Tape tape;
    const StepLoss part = stage_.loss_of(drawn_);
    first = std::exchange(numbers_, {{part.loss.value(), 1, part.metrics}, optimizer_.step(backward(part.loss), {.lr = lr}).gradient_norm});
  });
  return first;
}

StepNumbers RecordedStep::run(const StepPart& part, double lr) {
  AnyDrawn drawn = stage_.drawn(part);
  Numbers numbers;
  if (!fits_recording(drawn)) {
    numbers = record(std::move(drawn), lr);
  } else {
    for (std::size_t i = 0; i < drawn.tensors.size(); ++i)
      if (drawn.tensors[i]->defined()) drawn_.tensors[i]->copy_from(*drawn.tensors[i]);
    optimizer_.repeat({.lr = lr});
    graph_->replay();
    numbers = numbers_;
  }
  return {.step = part.step + 1, .parts = {numbers.part}, .gradient_norm = numbers.gradient_norm, .lr = lr};
}

}  // namespace fm
