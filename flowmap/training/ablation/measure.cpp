#include "flowmap/training/ablation/measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "data/report/statistics.h"
#include "flowmap/training/chain/costs.h"
#include "flowmap/training/stage.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

// w - (t - s) du/dt on the rows with s < t
Tensor target(const FlowPoint& at, const Tensor& w, const Tensor& dudt) {
  const std::int64_t k = dudt.dim(0);
  return fm::first_rows(w, k) - column(fm::first_rows(at.t - at.s, k), w.rank()) * dudt;
}

double relative_error(const Tensor& a, const Tensor& exact) {
  const double size = sum_squares(exact);
  return size == 0 ? std::nan("") : std::sqrt(sum_squares(a.to(DType::f64) - exact) / size);
}

// Returns the teacher's velocity, or an empty function if the stage's objective needs no teacher.
TeacherVelocity teacher_of(const StageSpec& stage, const Recipe& recipe, Subject& subject) {
  return stage.is_taught(recipe) ? subject.velocity(recipe, stage.objective_in(recipe).needs.data) : TeacherVelocity();
}

// Measures the errors of the variant's target and derivative, compared with f64.
void measure_error(Subject& subject, const Variant& variant, const Batch& batch, StepCost& cost) {
  const PauseTape pause;
  const MeanFlowConfig& objective = variant.recipe.mfd.objective;
  const PathBatch p = draw_path_batch(batch, objective.pairs, objective.labels);
  if (p.off_diagonal == 0)
    throw ConfigError(fmt::format("{}: no row of the batch has s < t: set --mfd.objective.pairs.exact-share true, or take a larger --mfd.loop.batch",
                                  variant.name));
  const FlowPoint at = first_rows({p.z, p.s, p.t, p.y, {}, {}}, p.off_diagonal);
  const StageSpec& stage = variant.stage();
  const auto [teacher, beside] = teacher_of(stage, variant.recipe, subject);
  const VelocitySource velocity = velocity_source(stage.velocity_in(variant.recipe), teacher, beside > 0);
  const Tensor w = fm::first_rows(velocity(p), p.off_diagonal);
  const Network network = subject.student(variant.start);
  const FlowPoint wide_at{at.z.to(DType::f64), at.s.to(DType::f64), at.t.to(DType::f64), at.y, {}, {}};
  const Tensor wide_w = w.to(DType::f64), exact = differentiate(network.in_f64().u(), wide_at, wide_w, {}).dudt;
  const Tensor dudt = differentiate(network.in_precision(variant.recipe.network.precision()).u(), at, w, objective.used_derivative()).dudt;
  cost.derivative_error = relative_error(dudt, exact);
  cost.target_error = relative_error(target(at, w, dudt), target(wide_at, wide_w, exact));
}

struct Timing {
  std::vector<double> seconds;
  double peak_mib = 0;
};

double machine_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Computes loss and gradients once and records their time and memory.
void time_step(const std::function<Var()>& loss, const std::function<double()>& clock, Timing& timing) {
  const std::size_t live = memory_stats().live;
  reset_memory_peak();
  const double start = clock();
  {
    Tape tape;
    backward(loss());
    synchronise(default_device());
  }
  timing.seconds.push_back(clock() - start);
  timing.peak_mib = static_cast<double>(memory_stats().peak - live) / (1 << 20);
}

// A step whose time is measured. A variant has one such step, two if it has two parts, or three if its steps may follow a schedule.
struct Timed {
  std::size_t variant;
  std::function<Stage()> stage;          // makes the stage anew for each step, so that memory holds the extra networks of one variant only
  StepPart step;
  double share;                          // share of the variant's steps that this step stands for
  Timing timing = {};
};

Stage stage_of(Subject& subject, const Variant& v, const Recipe& recipe, const Batch& batch) {
  const StageSpec& stage = v.stage();
  const auto [teacher, beside] = teacher_of(stage, recipe, subject);
  FlowParts parts{.objective = stage.objective_in(recipe), .network = subject.student(v.start).in_precision(recipe.network.precision()),
                  .batch = [batch](const StepPart&) { return batch; }, .teacher = teacher, .beside = beside, .shape = recipe.latent_shape(),
                  .averaged = false};
  parts.velocity = velocity_source(stage.velocity_in(recipe), parts.teacher, parts.beside > 0);
  return flow_stage(v.name, stage.loop(recipe), std::move(parts)).stage;
}

std::vector<Timed> timed_steps(Subject& subject, const std::vector<Variant>& list, const std::vector<Batch>& batches) {
  std::vector<Timed> out;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Variant& v = list[i];
    for (const Recipe& recipe : v.parts()) {
      const auto make = [&subject, &v, recipe, batch = batches[i]] { return stage_of(subject, v, recipe, batch); };
      const std::int64_t steps = v.stage().steps(recipe), rows = v.stage().loop(recipe).batch;
      const double share = static_cast<double>(steps) / static_cast<double>(std::max<std::int64_t>(1, v.steps()));
      const auto add = [&](std::int64_t step, double part) { out.push_back({i, make, {step, 0, rows, -1, steps}, part * share}); };
      if (v.stage().mean_flow != nullptr) add(0, 1);
      else for (const std::int64_t step : {std::int64_t{0}, steps / 2, steps - 1}) add(step, 1.0 / 3);
    }
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

std::vector<StepCost> step_costs(Subject& subject, const std::vector<Variant>& list, std::uint64_t seed, std::int64_t rounds, Messages& log,
                                 const std::function<double()>& clock) {
  std::vector<StepCost> costs(list.size());
  std::vector<Batch> batches;
  for (const Variant& v : list)                          // first, because they decide what batches hold beside latents
    for (const Recipe& recipe : v.parts()) teacher_of(v.stage(), recipe, subject);
  for (const Variant& v : list) batches.push_back(subject.batch(v.stage().loop(v.recipe).batch, seed));
  const bool errors = std::any_of(list.begin(), list.end(), [](const Variant& v) { return v.stage().mean_flow != nullptr; });
  if (errors) log.info("errors of {} variants against the derivative in f64 ...", list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    check_interrupt();
    if (list[i].stage().mean_flow != nullptr) measure_error(subject, list[i], batches[i], costs[i]);
    else costs[i].target_error = costs[i].derivative_error = std::nan("");
  }
  std::vector<Timed> steps = timed_steps(subject, list, batches);
  for (std::int64_t round = 0; round <= rounds; ++round) {
    log.info("a step of each, {}", round == 0 ? "to warm up ..." : fmt::format("round {} of {} ...", round, rounds));
    for (Timed& s : steps) {
      check_interrupt();
      if (round == 1) s.timing.seconds.clear();                        // round 0 fills caches and the allocator
      const Stage stage = s.stage();
      time_step([&] { return stage.loss(s.step).loss; }, clock ? clock : machine_seconds, s.timing);
    }
  }
  add_timings(steps, costs);
  return costs;
}

double evaluations_a_step(const Variant& variant) {
  double all = 0;
  for (const Recipe& recipe : variant.parts()) {
    const StageCost cost = stage_cost(recipe, variant.part);
    const double passes = (cost.forward + cost.tangent + cost.backward + cost.recompute + cost.targets) / cost.forward;
    const double rows = static_cast<double>(cost.loop->batch) * static_cast<double>(variant.stage().objective_in(recipe).needs.rows);
    all += static_cast<double>(cost.loop->steps) * passes * rows;
  }
  return all / static_cast<double>(std::max<std::int64_t>(1, variant.steps()));
}

void equalise(std::vector<Variant>& list, const std::string& equal, const std::vector<StepCost>& costs) {
  if (equal == "steps" || list.empty()) return;
  const auto cost = [&](std::size_t i) { return equal == "time" ? costs.at(i).seconds : evaluations_a_step(list[i]); };
  const double work = cost(0) * static_cast<double>(list[0].steps());
  for (std::size_t i = 1; i < list.size(); ++i) set_steps(list[i], std::llround(work / cost(i)));
}

}  // namespace fm
