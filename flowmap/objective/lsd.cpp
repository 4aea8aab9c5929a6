#include "flowmap/objective/lsd.h"

#include "flowmap/jump.h"

namespace fm {
ObjectiveLoss lsd(const FlowMapNet& net, const VelocityNet& v, const PathBatch& p, const VelocitySource& velocity,
                  const LsdConfig& config, const LogVariance& log_variance) {
  const std::int64_t k = p.off_diagonal, rows = p.rows();
  const auto [u, duds] = end_derivative(net, p, config.through_derivative);

  std::vector<Var> residual;
  if (k > 0) {
    const Tensor z = first_rows(p.z, k), s = first_rows(p.s, k), gap = first_rows(p.t, k) - s;
    const Var u_off = slice(u, 0, 0, k);
    const Tensor v_end = evaluate(v, moved(z, gap, u_off.value()), s, first_rows(p.y, k));
    residual.push_back(u_off - column(gap, z.rank()) * duds - v_end);
  }
  if (k < rows) residual.push_back(slice(u, 0, k, rows) - rows_from(velocity(p), k));
  return report_weighed(measure(joined_rows(residual), config.metric), p, config.row_weight, log_variance);
}

// A taped tangent costs 3: 1 for itself and 2 for its backward pass. A tangent that is not taped costs 1.
Needs LsdConfig::needs() const {
  const double share = 1 - pairs.diagonal_share;
  const bool taught = end_velocity == "teacher";
  return {.teacher = taught, .teacher_of_z = taught, .row_weight = row_weight, .taped_tangent = through_derivative ? share : 0, .passes = share * ((through_derivative ? 3 : 1) + (taught ? 0 : 1)),
          .teacher_calls = taught ? share : 0};
}
Claims LsdConfig::claims() const { return claims_under(metric); }
Drawn LsdConfig::draw(const Batch& batch, const Nets&, const TrainingStep&) const { return {draw_path_batch(batch, pairs, labels), {}}; }
ObjectiveLoss LsdConfig::loss(const Nets& nets, const Drawn& drawn) const {
  return lsd(nets.net, end_velocity == "teacher" ? nets.teacher : diagonal(nets.net), drawn.p, nets.velocity, *this, nets.log_variance);
}
std::string LsdConfig::not_recorded(const std::string& keys) const { return pairs.varies(keys + ".pairs"); }

// Boffi et al. 2025: mean squares under a learned weight, uniform times up to 1.
LsdConfig LsdConfig::published() {
  LsdConfig c;
  c.row_weight = true;
  c.pairs.time.upper = c.pairs.time.shift = 1;
  return c;
}

}  // namespace fm
