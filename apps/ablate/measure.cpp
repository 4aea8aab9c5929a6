#include "apps/ablate/measure.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "apps/run/signals.h"
#include "data/report/statistics.h"
#include "flowmap/training/chain/costs.h"
#include "flowmap/training/stage.h"
#include "tensor/error.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

FlowPoint first_rows(const FlowPoint& p, std::int64_t k) {
  return {fm::first_rows(p.z, k), fm::first_rows(p.s, k), fm::first_rows(p.t, k), fm::first_rows(p.y, k), {}, {}};
}

// w - (t - s) du/dt on the rows with s < t
Tensor target(const FlowPoint& at, const Tensor& w, const Tensor& dudt) {
  const std::int64_t k = dudt.dim(0);
  return fm::first_rows(w, k) - column(fm::first_rows(at.t - at.s, k), w.rank()) * dudt;
}

double relative_error(const Tensor& a, const Tensor& exact) {
  const double size = sum_squares(exact);
  return size == 0 ? std::nan("") : std::sqrt(sum_squares(a.to(DType::f64) - exact) / size);
}

VelocitySource velocity_of(const MfStage& stage, double guidance, Subject& subject) {
  return velocity_source(stage.velocity, teacher_share(stage.velocity) > 0 ? subject.velocity(guidance) : VelocityNet());
}

// The error of the variant's target and derivative against f64.
void measure_error(Subject& subject, const Variant& variant, const Batch& batch, StepCost& cost) {
  const PauseTape pause;
  const MeanFlowConfig& objective = variant.recipe.mfd.objective;
  const PathBatch p = draw_path_batch(batch, objective.pairs, objective.labels);
  if (p.off_diagonal == 0)
    throw ConfigError(fmt::format("{}: no row of the batch has s < t: set --mfd.objective.pairs.exact-share true, or take a larger --mfd.loop.batch",
                                  variant.name));
  const FlowPoint at = first_rows({p.z, p.s, p.t, p.y, {}, {}}, p.off_diagonal);
  const Tensor w = fm::first_rows(velocity_of(variant.recipe.mfd, variant.recipe.guidance, subject)(p), p.off_diagonal);
  const Network network = subject.student(variant.start);
  const FlowPoint wide_at{at.z.to(DType::f64), at.s.to(DType::f64), at.t.to(DType::f64), at.y, {}, {}};
  const Tensor wide_w = w.to(DType::f64), exact = differentiate(network.in_f64().u(), wide_at, wide_w, {}).dudt;
  const Tensor dudt = differentiate(network.in_precision(variant.recipe.network.precision()).u(), at, w, objective.derivative).dudt;
  cost.derivative_error = relative_error(dudt, exact);
  cost.target_error = relative_error(target(at, w, dudt), target(wide_at, wide_w, exact));
}

struct Timing {
  std::vector<double> seconds;
  double peak_mib = 0;
};

// Runs loss and gradients once and notes their time and memory.
void time_step(const std::function<Var()>& loss, Timing& timing) {
  const std::size_t live = memory_stats().live;
  reset_memory_peak();
  const auto start = std::chrono::steady_clock::now();
  {
    Tape tape;
    backward(loss());
    synchronise(default_device());
  }
  timing.seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  timing.peak_mib = static_cast<double>(memory_stats().peak - live) / (1 << 20);
}

// A variant's steps are of one kind, or of two where it has two parts.
struct Timed {
  std::size_t variant;
  Stage stage;
  double share;                          // of the variant's steps
  Timing timing = {};
};

std::vector<Timed> timed_steps(Subject& subject, const std::vector<Variant>& list, const Batch& batch) {
  std::vector<Timed> out;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Variant& v = list[i];
    const auto add = [&](const MfStage& stage) {
      FlowParts parts{.objective = make_objective(stage.objective), .network = subject.student(v.start).in_precision(v.recipe.network.precision()),
                      .batch = [batch](const StepPart&) { return batch; }, .velocity = velocity_of(stage, v.recipe.guidance, subject), .averaged = false};
      out.push_back({i, flow_stage(v.name, stage.loop, std::move(parts)).stage,
                     static_cast<double>(stage.loop.steps) / static_cast<double>(std::max<std::int64_t>(1, v.steps()))});
    };
    add(v.recipe.mfd);
    if (v.then) add(*v.then);
  }
  return out;
}

void add_timings(const std::vector<Timed>& steps, std::vector<StepCost>& costs) {
  for (const Timed& s : steps) {
    StepCost& cost = costs[s.variant];
    cost.seconds += s.share * median(s.timing.seconds);
    cost.peak_mib = std::max(cost.peak_mib, s.timing.peak_mib);
    cost.spread = std::max(cost.spread, spread(s.timing.seconds));
  }
}

}  // namespace

std::vector<StepCost> step_costs(Subject& subject, const std::vector<Variant>& list, std::uint64_t seed, std::int64_t rounds, Messages& log) {
  std::vector<StepCost> costs(list.size());
  const Batch batch = subject.batch(seed);
  log.info("errors of {} variants against the derivative in f64 ...", list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    throw_if_stop_requested();
    measure_error(subject, list[i], batch, costs[i]);
  }
  std::vector<Timed> steps = timed_steps(subject, list, batch);
  const std::int64_t rows = batch.z0.dim(0);
  for (std::int64_t round = 0; round <= rounds; ++round) {
    log.info("a step of each, {}", round == 0 ? "to warm up ..." : fmt::format("round {} of {} ...", round, rounds));
    for (Timed& s : steps) {
      throw_if_stop_requested();
      if (round == 1) s.timing.seconds.clear();                        // round 0 fills caches and the allocator
      time_step([&] { return s.stage.loss({0, 0, rows, -1, 1}).loss; }, s.timing);
    }
  }
  add_timings(steps, costs);
  return costs;
}

double evaluations_a_step(const Variant& variant) {
  Recipe recipe = variant.recipe;
  const auto of = [&](const MfStage& stage) {
    recipe.mfd = stage;
    const StageCost cost = stage_cost(recipe, stage_name::mfd);
    const double passes = (cost.forward + cost.tangent + cost.backward + cost.recompute + cost.targets) / cost.forward;
    return static_cast<double>(stage.loop.steps) * passes * static_cast<double>(stage.loop.batch);
  };
  const double all = of(variant.recipe.mfd) + (variant.then ? of(*variant.then) : 0);
  return all / static_cast<double>(std::max<std::int64_t>(1, variant.steps()));
}

void equalise(std::vector<Variant>& list, const std::string& equal, const std::vector<StepCost>& costs) {
  if (equal == "steps" || list.empty()) return;
  const auto cost = [&](std::size_t i) { return equal == "time" ? costs.at(i).seconds : evaluations_a_step(list[i]); };
  const double work = cost(0) * static_cast<double>(list[0].steps());
  for (std::size_t i = 1; i < list.size(); ++i) set_steps(list[i], std::llround(work / cost(i)));
}

}  // namespace fm
