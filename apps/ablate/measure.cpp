#include "apps/ablate/measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "apps/support/signals.h"
#include "tensor/error.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/elementwise.h"
#include "tensor/random/fill.h"

namespace fm {
namespace {

constexpr std::uint64_t seed = 12345;    // of the batch; no training has it

FlowPoint first_rows(const FlowPoint& p, std::int64_t k) {
  return {fm::first_rows(p.z, k), fm::first_rows(p.s, k), fm::first_rows(p.t, k), fm::first_rows(p.y, k), {}, {}};
}

// w - (t - s) du/dt on the rows with s < t
Tensor target(const FlowPoint& at, const Tensor& w, const Tensor& dudt) {
  const std::int64_t k = dudt.dim(0);
  return fm::first_rows(w, k) - column(fm::first_rows(at.t - at.s, k), w.rank()) * dudt;
}

double relative_error(const Tensor& a, const Tensor& exact) {
  return std::sqrt(sum_squares(a.to(DType::f64) - exact) / sum_squares(exact));
}

std::shared_ptr<DitDh> in_precision(const DitDh& model, const std::string& precision) {
  auto out = std::make_shared<DitDh>(clone(model));
  out->config.precision = precision;
  return out;
}

// Errors of the variants' targets and derivatives against f64.
void measure_errors(const Subject& s, const std::vector<Variant>& list, std::vector<StepCost>& costs) {
  const PauseTape pause;
  const MeanFlowConfig& objective = list.at(0).config.objective;
  const PathBatch p = draw_path_batch(s.batch, objective.pairs, objective.labels);
  if (p.off_diagonal == 0) throw ConfigError("no row of the batch has s < t: set --mfd.objective.pairs.exact-share true, or take a larger --mfd.loop.batch");
  const FlowPoint at = first_rows({p.z, p.s, p.t, p.y, {}, {}}, p.off_diagonal);
  const Tensor w = evaluate(s.velocity, at.z, at.t, at.y);
  const auto wide = in_precision(*s.student, "f32");
  to_dtype(*wide, DType::f64);
  const FlowPoint wide_at{at.z.to(DType::f64), at.s.to(DType::f64), at.t.to(DType::f64), at.y, {}, {}};
  const Tensor wide_w = w.to(DType::f64), exact = differentiate(wide, wide_at, wide_w, {}).dudt;
  const Tensor exact_target = target(wide_at, wide_w, exact);
  for (std::size_t i = 0; i < list.size(); ++i) {
    throw_if_stop_requested();
    const auto student = in_precision(*s.student, list[i].precision);
    const Tensor dudt = differentiate(student, at, w, list[i].config.objective.derivative).dudt;
    costs[i].derivative_error = relative_error(dudt, exact);
    costs[i].target_error = relative_error(target(at, w, dudt), exact_target);
  }
}

double median(std::vector<double> x) {
  const auto middle = x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2);
  std::nth_element(x.begin(), middle, x.end());
  return *middle;
}

// Runs the step once and notes its time and memory.
void time_step(const std::function<Var()>& loss, std::vector<double>& seconds, double& peak_mib) {
  const std::size_t live = memory_stats().live;
  reset_memory_peak();
  const auto start = std::chrono::steady_clock::now();
  {
    Tape tape;
    backward(loss());
    synchronise(default_device());
  }
  seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  peak_mib = static_cast<double>(memory_stats().peak - live) / (1 << 20);
}

// Gaussian, products with the deviation 1 / sqrt(fan-in), modulations small: a network whose derivative is of the size of its value.
void fill_at_random(DitDh& model, std::uint64_t key) {
  std::uint32_t number = 0;
  for_each_parameter(model, [&](const std::string& name, Parameter& p) {
    if (!p.trainable || name.find("norm") != std::string::npos) return;
    const bool small = p.value.rank() < 2 || name.find("adaLN") != std::string::npos || name.find("embedding_table") != std::string::npos;
    const double fan_in = static_cast<double>(p.value.numel()) / static_cast<double>(p.value.dim(0));
    p.value.copy_from(random_normal(p.value.shape(), {key, ++number}) * (small ? 0.02 : 1 / std::sqrt(fan_in)));
  });
}

}  // namespace

Subject trained_subject(TrainingRun& run) {
  const MfStage& base = run.recipe().mfd;
  return {run.load_student("cmt"), run.guided(run.load_teacher()), run.flow_batch({0, 0, base.loop.batch}, base.loop.batch, seed)};
}

Subject untrained_subject(const Recipe& recipe) {
  DitDhConfig config = recipe.dit;
  config.mean_flow = false;
  const auto teacher = std::make_shared<DitDh>(config, 1);
  config.mean_flow = true;
  const auto student = std::make_shared<DitDh>(config, 2);
  fill_at_random(*teacher, 1);
  fill_at_random(*student, 2);
  set_trainable(*teacher, false);
  const Samples samples = consecutive(0, recipe.mfd.loop.batch);
  const Batch batch{random_normal_rows(samples, {config.channels, config.input_size, config.input_size}, {seed, 1}),
                    Tensor::zeros({recipe.mfd.loop.batch}, DType::i64), {seed, 0, samples}};
  return {student, teacher, batch};
}

std::vector<StepCost> step_costs(const Subject& subject, const std::vector<Variant>& list, std::int64_t rounds, Logger& log) {
  std::vector<StepCost> costs(list.size());
  log.info("errors of {} variants against the derivative in f64 ...", list.size());
  measure_errors(subject, list, costs);
  const auto student = std::make_shared<DitDh>(clone(*subject.student));
  set_trainable(*student, true);
  std::vector<std::vector<double>> seconds(list.size());
  for (std::int64_t round = 0; round <= rounds; ++round) {
    log.info("a step of each, {}", round == 0 ? "to warm up ..." : fmt::format("round {} of {} ...", round, rounds));
    for (std::size_t i = 0; i < list.size(); ++i) {
      throw_if_stop_requested();
      if (round == 1) seconds[i].clear();                              // round 0 fills caches and the allocator
      student->config.precision = list[i].precision;
      time_step([&] { return mean_flow(student, subject.batch, teacher(subject.velocity), list[i].config.objective).loss; },
                seconds[i], costs[i].peak_mib);
    }
  }
  for (std::size_t i = 0; i < list.size(); ++i) costs[i].seconds = median(seconds[i]);
  return costs;
}

}  // namespace fm
