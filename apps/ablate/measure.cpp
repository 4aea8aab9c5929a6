#include "apps/ablate/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "tensor/memory/allocator.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

constexpr std::uint64_t seed = 12345;    // of the batch; no training has it

// w - (t - s) du/dt on the rows with s < t
Tensor target(const FlowPoint& at, const Tensor& w, const Tensor& dudt) {
  const std::int64_t k = dudt.dim(0);
  return first_rows(w, k) - column(first_rows(at.t - at.s, k), w.rank()) * dudt;
}

double relative_error(const Tensor& a, const Tensor& exact) {
  return std::sqrt(sum_squares(a.to(DType::f64) - exact) / sum_squares(exact));
}

std::vector<double> target_errors(const DitDh& student, const VelocityNet& velocity, const PathBatch& p, const std::vector<Variant>& list) {
  const PauseTape pause;
  const Tensor w = first_rows(evaluate(velocity, p.z, p.t, p.y), p.off_diagonal);
  DitDh wide = clone(student);
  to_dtype(wide, DType::f64);
  const FlowPoint at{p.z, p.s, p.t, p.y, {}, {}}, wide_at{p.z.to(DType::f64), p.s.to(DType::f64), p.t.to(DType::f64), p.y, {}, {}};
  const Tensor wide_w = w.to(DType::f64), exact = target(wide_at, wide_w, differentiate(flow_map_net(wide), wide_at, wide_w, {}).dudt);
  std::vector<double> errors;
  for (const Variant& v : list)
    errors.push_back(relative_error(target(at, w, differentiate(flow_map_net(student), at, w, v.config.objective.derivative).dudt), exact));
  return errors;
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
  }
  seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  peak_mib = static_cast<double>(memory_stats().peak - live) / (1 << 20);
}

}  // namespace

std::vector<StepCost> step_costs(TrainingRun& run, const std::vector<Variant>& list, std::int64_t rounds) {
  const MfStage& base = run.recipe().mfd;
  const DitDh teacher_net = run.load_teacher();
  const VelocityNet velocity = run.guided(teacher_net);
  DitDh student = run.load_student("cmt");
  const Batch batch = run.flow_batch({0, 0, base.loop.batch}, base.loop.batch, seed);

  const auto errors = target_errors(student, velocity, draw_path_batch(batch, base.objective.pairs, base.objective.labels), list);
  set_trainable(student, true);
  std::vector<StepCost> costs(list.size());
  std::vector<std::vector<double>> seconds(list.size());
  for (std::int64_t round = 0; round <= rounds; ++round)
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (round == 1) seconds[i].clear();                              // round 0 fills caches and the allocator
      time_step([&] { return mean_flow(flow_map_net(student), batch, teacher(velocity), list[i].config.objective).loss; }, seconds[i],
                costs[i].peak_mib);
    }
  for (std::size_t i = 0; i < list.size(); ++i) {
    costs[i].target_error = errors[i];
    costs[i].seconds = median(seconds[i]);
  }
  return costs;
}

}  // namespace fm
