// One interface to all objectives. An objective is a struct of settings with three pure functions:
//
//   needs()                 what a training must bring, by the settings alone: it is granted, or refused in one line before the first step
//   draw(batch, nets, now)  on the host: noise, times, dropped labels, the numbers of schedules
//   loss(nets, drawn)       on the device: reads nothing back, so that a step can be recorded
//
// flowmap/objective/list.h has the list of them; docs/extending.md adds one.
#pragma once

#include <concepts>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "flowmap/objective/objective.h"
#include "flowmap/schedule.h"
#include "flowmap/velocity.h"
#include "tensor/io/element_type.h"

namespace fm {

struct Needs {
  bool data = true;                      // samples; false: labels and noise are enough (CMT learns from the teacher's trajectories)
  bool teacher = false;                  // a frozen velocity
  double target_decay = -1;              // decay of the average of the weights that targets come from; below 0: the network itself
  double taped_tangent = 0;              // share of rows through whose derivative gradients pass: the tape keeps as much again of them
  double evaluations = 3;                // of the network a row, a backward pass counting 2: what "equal work" is measured in
};

// What the training brings.
struct Nets {
  FlowMapNet net;                        // what is trained; a network of one time ignores s
  FlowMapNet target;                     // its average of decay needs().target_decay, frozen; empty: none is needed
  VelocityNet teacher;                   // guided, frozen; empty: none is needed
  VelocitySource velocity;               // w of the targets: one-point, teacher, blend
  Shape shape;                           // of a sample, and its type: for objectives that need no data
  DType dtype = DType::f32;
};

// All that is drawn or scheduled for one step. A recorded step overwrites its tensors in place.
struct Drawn {
  PathBatch p;                           // rows with s < t first
  NamedTensors numbers;                  // of the objective's own, (rows) or (rows, ...) each: "split", "alpha", "target"
  std::int64_t variant = 0;              // another number: another computation, which must be recorded anew

  const Tensor& operator[](std::string_view name) const;                 // Error if there is none

  template <class F> void each_tensor(F&& f) {
    p.each_tensor(f);
    for (auto& entry : numbers) f(entry.second);
  }
  std::int64_t form() const { return (variant << 48) + p.off_diagonal; }
};

template <class O>
concept ObjectiveEntry = requires(const O& o, const Batch& batch, const Nets& nets, const Drawn& drawn, const TrainingStep& now) {
  { O::name } -> std::convertible_to<std::string_view>;                  // "mean_flow"
  { O::says } -> std::convertible_to<std::string_view>;                  // a line of help
  { o.needs() } -> std::same_as<Needs>;
  { o.draw(batch, nets, now) } -> std::same_as<Drawn>;
  { o.loss(nets, drawn) } -> std::same_as<ObjectiveLoss>;
  { o.not_recorded(std::string()) } -> std::same_as<std::string>;        // why steps are not all the same work ("" if they are), by keys below this one
};

// Any entry with its settings, for code that does not care which.
struct Objective {
  Needs needs;
  std::function<Drawn(const Batch&, const Nets&, const TrainingStep&)> draw;
  std::function<ObjectiveLoss(const Nets&, const Drawn&)> loss;
  std::string not_recorded;              // why a step cannot be recorded; empty: it can
};

// `keys`: where the entry stands in the config, for messages: "mfd.objective".
template <ObjectiveEntry O> Objective make_objective(const O& entry, const std::string& keys) {
  return {entry.needs(), [entry](const Batch& batch, const Nets& nets, const TrainingStep& now) { return entry.draw(batch, nets, now); },
          [entry](const Nets& nets, const Drawn& drawn) { return entry.loss(nets, drawn); }, entry.not_recorded(keys)};
}

}  // namespace fm
