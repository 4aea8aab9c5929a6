#include "flowmap/objective/ctm.h"

#include <fmt/format.h>

#include "flowmap/jump.h"
#include "tensor/narrow.h"

namespace fm {
namespace {


// b, the target of the rows with s < t
Tensor end_by_teacher(const FlowMapNet& target, const VelocityNet& teacher, const PathBatch& p, const Tensor& middle, const CtmConfig& config) {
  const std::int64_t k = p.off_diagonal;
  const Tensor s = first_rows(p.s, k), m = first_rows(middle, k);
  const Labels y = first_rows(p.y, k);
  const Tensor z = step_back(teacher, first_rows(p.z, k), first_rows(p.t, k), m, solver_named(config.solver), narrow<int>(config.solver_steps, "solver_steps"), y);
  return jumped(target, jumped(target, z, s, m, y), Tensor::zeros(s.shape(), s.dtype()), s, y);
}

// 1 on rows with s < t, diagonal_weight (t^2 + (1-t)^2) on the others
Tensor weights(const PathBatch& p, double diagonal_weight) {
  const std::int64_t k = p.off_diagonal;
  const Tensor diagonal = diagonal_weight * (square(p.t) + square(1.0 - p.t));
  return k == 0 ? diagonal : with_first_rows(diagonal, Tensor::ones({k}, p.t.dtype()));
}

}  // namespace

ObjectiveLoss ctm(const FlowMapNet& net, const FlowMapNet& target, const VelocityNet& teacher, const PathBatch& p, const Tensor& middle,
                  const VelocitySource& velocity, const CtmConfig& config) {
  const std::int64_t k = p.off_diagonal, rows = p.rows();
  const Var u = net(p.z, p.s, p.t, p.y);
  std::vector<Var> residual;
  if (k > 0) {
    const Tensor z = first_rows(p.z, k), s = first_rows(p.s, k), gap = first_rows(p.t, k) - s;
    const Var there = z - column(gap, z.rank()) * slice(u, 0, 0, k);
    residual.push_back(jump(target, there, Tensor::zeros(s.shape(), s.dtype()), s, first_rows(p.y, k)) - end_by_teacher(target, teacher, p, middle, config));
  }
  if (k < rows) residual.push_back(slice(u, 0, k, rows) - rows_from(velocity(p), k));
  const Var all = joined_rows(residual);
  return report(measure(all, config.metric, weights(p, config.diagonal_weight)), p.s, p.t, k);
}

// A row with s < t costs 2 for a pass through frozen weights with a gradient to its input (which needs as much tape memory as the network's own pass), 2 for
// two jumps without history, and the teacher's steps.
Needs CtmConfig::needs() const {
  const double share = 1 - pairs.diagonal_share;
  return {.teacher = true, .teacher_of_z = true, .target_decay = target_decay, .taped_tangent = share, .passes = share * (2 + 2),
          .teacher_calls = share * static_cast<double>(solver_steps) * (solver == "heun" ? 2 : 1)};
}

Claims CtmConfig::claims() const {
  return {.exact = false, .unbiased = false, .why = fmt::format("{} steps of a solver in place of the teacher's flow", solver_steps)};
}

Drawn CtmConfig::draw(const Batch& batch, const Nets&, const TrainingStep& now) const { return complete(draw_path_batch(batch, pairs, labels), now); }

Drawn CtmConfig::complete(PathBatch p, const TrainingStep&) const {
  std::vector<double> share;
  for (std::size_t i = 0; i < p.draws.rows(); ++i) share.push_back(p.draws.uniform(Purpose::middle, i));
  Tensor middle = p.s + Tensor::from(share, {p.rows()}).to(p.z.dtype()) * (p.t - p.s);
  return {std::move(p), {{"middle", std::move(middle)}}};
}

ObjectiveLoss CtmConfig::loss(const Nets& nets, const Drawn& drawn) const {
  return ctm(nets.net, nets.target, nets.teacher, drawn.p, drawn["middle"], nets.velocity, *this);
}
std::string CtmConfig::not_recorded(const std::string& keys) const { return pairs.varies(keys + ".pairs"); }

}  // namespace fm
