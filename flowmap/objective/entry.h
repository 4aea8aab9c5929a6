// One interface to all objectives. An objective is a struct of settings with three pure functions:
//
//   needs()                 the requirements of a training, from the settings alone. A training grants them, or refuses in one line before the first step
//   draw(batch, nets, now)  on the host: noise, times, dropped labels, the numbers of schedules
//   loss(nets, drawn)       on the device: reads nothing back, so that a step can be recorded
//
// claims() states the properties of its minimum, which flowmap/certify.h checks in closed form. If draw() makes more than points on the path,
// complete(p, now) makes the rest for given points. An entry whose settings can contradict each other, or the number of steps, also has check(keys, steps),
// which throws ConfigError before the first step. An entry whose average of the weights has a changing decay has target_decay_at(now).
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
  bool teacher = false;                  // a frozen velocity, in addition to the velocity source's calls
  bool velocity = true;                  // the velocity source, for every sample; false: it is not called
  double target_decay = -1;              // decay of the average of the weights that makes targets; below 0: the network itself makes them
  bool labels = false;                   // class numbers: guidance inside the target
  bool row_weight = false;               // a learned log variance of (s, t), beside the network
  std::int64_t group = 1;                // rows of the batch that belong together: its parts are multiples of it
  Jumps jumps = Jumps::any;              // the trained jumps; make_objective() takes them from an entry's setting `pairs`, if it has one
  double taped_tangent = 0;              // share of rows of which the tape keeps as much again: gradients pass through a derivative or a frozen network

  // The cost of one sample of the batch, from the settings alone (an expectation where rows are random):
  std::int64_t rows = 1;                 // rows for the trained network; each is a forward pass, and a backward pass that counts as two
  double passes = 0;                     // further passes of the network over those rows: derivatives and targets
  double teacher_calls = 0;              // the objective's own teacher calls, each over one row and without guidance

  // Passes over one row, a backward pass counting 2: the measure of "equal work". Calls of the velocity source are added to it.
  double evaluations() const { return static_cast<double>(rows) * (3 + passes) + teacher_calls; }
};

// Properties of an entry's minimum, for its settings and at the end of its schedules. flowmap/certify.h checks them.
struct Claims {
  bool exact = true;                     // no residual at the true flow map, where w and the teacher are the true velocity
  bool unbiased = true;                  // with w = eps - z0 the expected gradient is 0 at the true flow map, whatever the data
  std::string why = {};                  // one of the two is not so
  bool flow_map = true;                  // the minimum is the flow map of w; false: of a guided velocity, or any map with the right samples
};

// Claims under a metric, or for a normalized or clamped target. These turn the mean of targets into another location. `normalise`: as in TangentPolicy.
Claims claims_under(const MetricConfig& metric, double normalise = 0);
Claims claims_under(const MetricConfig& metric, const TangentPolicy& tangent);
// Claims under a derivative that is a difference, or is changed before it enters a target; `otherwise` if it is exact.
Claims claims_of_derivative(const DerivativeConfig& derivative, const TangentPolicy& tangent, const Claims& otherwise);

using LogVariance = std::function<Var(const Tensor& s, const Tensor& t)>;     // l (B), learned (nn/models/row_weight.h)

// The networks of a training.
struct Nets {
  FlowMapNet net;                        // the trained network; a network of one time ignores s
  FlowMapNet target;                     // its average of decay needs().target_decay, frozen; empty: none is needed
  VelocityNet teacher;                   // guided, frozen; empty: none is needed
  VelocitySource velocity = one_point(); // w of the targets: one-point, teacher, blend
  LogVariance log_variance = {};         // of needs().row_weight; empty: none is needed
  Shape shape;                           // of a sample, and its type: for objectives that need no data
  DType dtype = DType::f32;
};

// All that is drawn or scheduled for one step. A recorded step overwrites its tensors in place.
struct Drawn {
  PathBatch p;                           // rows with s < t (or s != t) first
  NamedTensors numbers;                  // of the objective's own, (rows) or (rows, ...) each: "split", "alpha", "target"
  std::int64_t variant = 0;              // another number: another computation, which must be recorded anew

  const Tensor& operator[](std::string_view name) const;                 // Error if the name is missing

  template <class F> void each_tensor(F&& f) {
    p.each_tensor(f);
    for (auto& entry : numbers) f(entry.second);
  }
  std::int64_t form() const { return (variant << 48) + p.off_diagonal; }
};

// The factor of the derivative where it changes with the step: with_warmup() adds it as the number "warmup" of each row, and warmup_of() reads it from
// there. A constant factor is not added, and warmup_of() is then undefined.
Drawn with_warmup(PathBatch p, const TangentPolicy& tangent, const TrainingStep& now);
Tensor warmup_of(const Drawn& drawn, const TangentPolicy& tangent);
// ConfigError: the warm-up never reaches its value in this number of steps. `keys`: of the entry.
void check_warmup(const TangentPolicy& tangent, const std::string& keys, std::int64_t steps);

// report() for entries with a setting `row_weight`. With it the loss is the mean over rows of  e^-l L + l,  L the metric of a row and l its
// log variance, whose mean is metrics["log_variance"]. Its minimum over l is at l = log L, where rows of all (s, t) have the same share in the gradient
// of the network. Error if the log variance is missing.
ObjectiveLoss report_weighed(const Measured& measured, const PathBatch& p, bool row_weight, const LogVariance& log_variance);

template <class O>
concept ObjectiveEntry = requires(const O& o, const Batch& batch, const Nets& nets, const Drawn& drawn, const TrainingStep& now) {
  { O::name } -> std::convertible_to<std::string_view>;                  // "mean_flow"
  { O::says } -> std::convertible_to<std::string_view>;                  // a line of help
  { o.needs() } -> std::same_as<Needs>;
  { o.claims() } -> std::same_as<Claims>;
  { o.draw(batch, nets, now) } -> std::same_as<Drawn>;
  { o.loss(nets, drawn) } -> std::same_as<ObjectiveLoss>;
  { o.not_recorded(std::string()) } -> std::same_as<std::string>;        // why steps are not all the same work ("" if they are), by keys below this one
};

// Any entry with its settings, for code that does not care which.
struct Objective {
  Needs needs = {};
  Claims claims = {};
  std::function<Drawn(const Batch&, const Nets&, const TrainingStep&)> draw;
  // The numbers that draw() adds to points on the path; by default none.
  std::function<Drawn(PathBatch, const TrainingStep&)> complete = [](PathBatch p, const TrainingStep&) { return Drawn{std::move(p), {}}; };
  std::function<ObjectiveLoss(const Nets&, const Drawn&)> loss;
  std::string not_recorded;              // why a step cannot be recorded; empty: it can
  std::function<double(const TrainingStep&)> target_decay = {};              // if a schedule moves needs.target_decay; empty: it is constant
  std::string remark = {};               // settings that the preset filled in: "published: metric.kind adaptive"
  std::string exact_share = {};          // the key of the setting that counts rows with s < t in each micro-batch, if it is on
  std::function<void(std::int64_t steps)> check = [](std::int64_t) {};       // ConfigError if the settings do not fit a training of this many steps
};

// `keys`: the entry's path in the config, for messages: "mfd.objective".
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
