// One interface to all objectives. An objective is a struct of settings with three pure functions:
//
//   needs()                 the requirements on a training, from the settings alone. A training that cannot meet them fails before its first step
//   draw(batch, nets, now)  on the host: noise, times, dropped labels, the numbers of schedules
//   loss(nets, drawn)       on the device: reads nothing back, so that a step can be recorded
//
// claims() states the properties of the loss's minimum, which flowmap/certify.h checks in closed form. If draw() adds numbers to the points on the path,
// complete(p, now) adds them to given points. If settings can contradict each other or the number of steps, an entry also has check(keys, steps), which
// throws ConfigError before the first step. If the decay of its averaged weights changes during a training, an entry has target_decay_at(now).
//
// flowmap/objective/list.h lists them; docs/extending.md shows how to add one.
#pragma once

#include <concepts>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "flowmap/derivative.h"
#include "flowmap/objective/objective.h"
#include "flowmap/schedule.h"
#include "flowmap/velocity.h"
#include "tensor/io/element_type.h"

namespace fm {

struct Needs {
  bool data = true;                      // samples; false: labels and noise are enough (CMT learns from the teacher's trajectories)
  bool teacher = false;                  // a frozen teacher, besides the calls of the velocity source
  bool teacher_of_z = false;             // the teacher is called at points of the objective's own, where only z is known, so one of rows (z | k) cannot serve
  bool velocity = true;                  // a velocity source, called for every sample; false: it is not called
  double target_decay = -1;              // decay of the averaged weights that make targets; below 0: the network itself makes them
  bool labels = false;                   // class numbers, for guidance inside the target
  bool row_weight = false;               // a learned log variance of (s, t), beside the network
  std::int64_t group = 1;                // rows in a group; the number of rows of each part of a batch must be a multiple of it
  Jumps jumps = Jumps::any;              // the trained jumps; make_objective() takes them from an entry's setting `pairs`, if it has one
  double taped_tangent = 0;              // share of rows with twice the tape memory: gradients pass through a derivative or a frozen network

  // The cost of one sample of the batch, from the settings alone (an expectation where rows are random):
  std::int64_t rows = 1;                 // rows for the trained network; each costs a forward pass and a backward pass, which counts as two
  double passes = 0;                     // further passes of the network over those rows: derivatives and targets
  double teacher_calls = 0;              // the objective's own teacher calls, each over one row and without guidance

  // Passes over one row that a sample costs; a backward pass counts as 2. `ablate --equal evaluations` gives each objective the same total. Calls of the
  // velocity source are not included.
  double evaluations() const { return static_cast<double>(rows) * (3 + passes) + teacher_calls; }
};

// Properties of the minimum of an entry's loss, with the entry's settings and its schedules at their final values. flowmap/certify.h checks them.
struct Claims {
  bool exact = true;                     // no residual at the true flow map, if w and the teacher are the true velocity
  bool unbiased = true;                  // with w = eps - z0 the expected gradient is 0 at the true flow map, whatever the data
  std::string why = {};                  // the reason if `exact` or `unbiased` is false
  bool flow_map = true;                  // the minimum is the flow map of w; false: that of a guided velocity, or any map with the right samples
};

// The claims that remain under a metric, or with a normalized or clamped target. Both can move the minimum away from the mean of the targets. `normalise`: as
// in TangentPolicy.
Claims claims_under(const MetricConfig& metric, double normalise = 0);
Claims claims_under(const MetricConfig& metric, const TangentPolicy& tangent);
// The claims that remain when du/dt is a finite difference, or is scaled or clamped before it enters the target. Returns `otherwise` if du/dt is exact and
// unchanged.
Claims claims_of_derivative(const DerivativeConfig& derivative, const TangentPolicy& tangent, const Claims& otherwise);

using LogVariance = std::function<Var(const Tensor& s, const Tensor& t)>;     // l (B), learned (nn/models/row_weight.h)

// The networks of a training.
struct Nets {
  FlowMapNet net;                        // the trained network; a network of one time ignores s
  FlowMapNet target;                     // the same with averaged, frozen weights (needs().target_decay); empty if not needed
  VelocityNet teacher;                   // guided, frozen; empty if not needed
  std::int64_t beside = 0;               // above 0: the teacher is one of rows (z | k) with this many numbers of k (joint_teacher in velocity.h)
  VelocitySource velocity = one_point(); // w of the targets: one-point, teacher, blend
  LogVariance log_variance = {};         // for needs().row_weight; empty if not needed
  Shape shape;                           // shape and type of a sample, for objectives that need no data
  DType dtype = DType::f32;
};

// All random and scheduled numbers of one step. A recorded step overwrites the tensors in place.
struct Drawn {
  PathBatch p;                           // rows with s < t (or s != t) first
  NamedTensors numbers;                  // the objective's own numbers, each (rows) or (rows, ...): "split", "alpha", "target"
  std::int64_t variant = 0;              // each number is a different computation, which must be recorded anew

  const Tensor& operator[](std::string_view name) const;                 // Error if the name is missing

  template <class F> void each_tensor(F&& f) {
    p.each_tensor(f);
    for (auto& entry : numbers) f(entry.second);
  }
  std::int64_t form() const { return (variant << 48) + p.off_diagonal; }
};

// The factor of the derivative, if it changes with the step: with_warmup() stores it as the number "warmup" of each row, and warmup_of() reads that. A
// constant factor is not stored, and warmup_of() returns an undefined tensor.
Drawn with_warmup(PathBatch p, const TangentPolicy& tangent, const TrainingStep& now);
Tensor warmup_of(const Drawn& drawn, const TangentPolicy& tangent);
// ConfigError if the warm-up takes more than `steps` steps. `keys`: the entry's path in the config, for the message.
void check_warmup(const TangentPolicy& tangent, const std::string& keys, std::int64_t steps);

// report() for entries with a setting `row_weight`. If it is on, the loss is the mean over rows of  e^-l L + l,  where L is the metric of a row and l its
// log variance. The mean of l is metrics["log_variance"]. The loss is minimal at l = log L, where rows of all (s, t) have the same share in the gradient
// of the network. Error if row_weight is on and log_variance is empty.
ObjectiveLoss report_weighed(const Measured& measured, const PathBatch& p, bool row_weight, const LogVariance& log_variance);

template <class O>
concept ObjectiveEntry = requires(const O& o, const Batch& batch, const Nets& nets, const Drawn& drawn, const TrainingStep& now) {
  { O::name } -> std::convertible_to<std::string_view>;                  // "mean_flow"
  { O::says } -> std::convertible_to<std::string_view>;                  // a line of help
  { o.needs() } -> std::same_as<Needs>;
  { o.claims() } -> std::same_as<Claims>;
  { o.draw(batch, nets, now) } -> std::same_as<Drawn>;
  { o.loss(nets, drawn) } -> std::same_as<ObjectiveLoss>;
  { o.not_recorded(std::string()) } -> std::same_as<std::string>;        // why a step cannot be recorded ("" if it can), with the config's path before its keys
};

// Any entry with its settings, behind one type.
struct Objective {
  Needs needs = {};
  Claims claims = {};
  std::function<Drawn(const Batch&, const Nets&, const TrainingStep&)> draw;
  // The numbers that draw() adds to points on the path; by default none.
  std::function<Drawn(PathBatch, const TrainingStep&)> complete = [](PathBatch p, const TrainingStep&) { return Drawn{std::move(p), {}}; };
  std::function<ObjectiveLoss(const Nets&, const Drawn&)> loss;
  std::string not_recorded;              // why a step cannot be recorded; empty: it can
  std::function<double(const TrainingStep&)> target_decay = {};              // needs.target_decay at a step; empty if it is constant
  std::string remark = {};               // settings that the preset filled in: "published: metric.kind adaptive"
  std::string exact_share = {};          // path of the setting pairs.exact_share in the config if the setting is on, else empty
  std::function<void(std::int64_t steps)> check = [](std::int64_t) {};       // ConfigError if the settings do not fit a training of this many steps
};

// `keys`: the entry's path in the config, for messages, such as "mfd.objective".
template <ObjectiveEntry O> Objective make_objective(const O& entry, const std::string& keys = std::string(O::name)) {
  Objective out{.needs = entry.needs(),
                .claims = entry.claims(),
                .draw = [entry](const Batch& batch, const Nets& nets, const TrainingStep& now) { return entry.draw(batch, nets, now); },
                .complete = [entry](PathBatch p, [[maybe_unused]] const TrainingStep& now) -> Drawn {
                  if constexpr (requires { entry.complete(std::move(p), now); }) return entry.complete(std::move(p), now);
                  else return {std::move(p), {}};
                },
                .loss = [entry](const Nets& nets, const Drawn& drawn) { return entry.loss(nets, drawn); },
                .not_recorded = entry.not_recorded(keys)};
  if constexpr (requires { entry.target_decay_at(TrainingStep{}); })
    out.target_decay = [entry](const TrainingStep& now) { return entry.target_decay_at(now); };
  if constexpr (requires { entry.pairs.jumps(); }) out.needs.jumps = entry.pairs.jumps();
  if constexpr (requires { entry.pairs.exact_share; }) out.exact_share = entry.pairs.exact_share ? keys + ".pairs.exact_share" : "";
  out.check = [entry, keys](std::int64_t steps) {
    if constexpr (requires { entry.tangent.warmup_over; }) check_warmup(entry.tangent, keys, steps);
    if constexpr (requires { entry.check(keys, steps); }) entry.check(keys, steps);
  };
  return out;
}

// The loss of a batch: makes the random draws, then computes.
template <ObjectiveEntry O> ObjectiveLoss loss_on(const O& objective, const Nets& nets, const Batch& batch, const TrainingStep& now = {}) {
  return objective.loss(nets, objective.draw(batch, nets, now));
}

}  // namespace fm
