#include "flowmap/objective/esd.h"

#include "autodiff/jvp.h"
#include "flowmap/jump.h"

namespace fm {
namespace {

// (du/dz) b on b's rows, without history.
Tensor derivative_in_space(const FlowMapNet& net, const PathBatch& p, const Tensor& b) {
  const std::int64_t k = b.dim(0);
  const Tensor s = first_rows(p.s, k), t = first_rows(p.t, k);
  const Labels y = first_rows(p.y, k);
  const PauseTape pause;
  return jvp([&](const Var& z) { return net(z, s, t, y); }, at(first_rows(p.z, k)), along(b)).second;
}

// b (k, ...): the direction of z.
TapedDerivative derivative_along(const FlowMapNet& net, const PathBatch& p, const Tensor& b, bool through_space) {
  if (through_space) return taped_derivative(net, p, b);
  const auto [u, in_time] = taped_derivative(net, p, {});
  return {u, in_time + derivative_in_space(net, p, b)};
}

}  // namespace

ObjectiveLoss esd(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const EsdConfig& config, const LogVariance& log_variance) {
  const std::int64_t k = p.off_diagonal, rows = p.rows();
  const Tensor w = velocity(p);
  if (k == 0) return report_weighed(measure(net(p.z, p.s, p.t, p.y) - w, config.metric), p, config.row_weight, log_variance);

  const Tensor z = first_rows(p.z, k), t = first_rows(p.t, k), gap = t - first_rows(p.s, k);
  const Tensor b = config.velocity == "own" ? evaluate(diagonal(net), z, t, first_rows(p.y, k)) : first_rows(w, k);
  const auto [u, dudt] = derivative_along(net, p, b, config.through_space);
  std::vector<Var> residual{slice(u, 0, 0, k) + column(gap, z.rank()) * dudt - b};
  if (k < rows) residual.push_back(slice(u, 0, k, rows) - rows_from(w, k));
  const Var all = joined_rows(residual);
  ObjectiveLoss out = report_weighed(measure(all, config.metric), p, config.row_weight, log_variance);
  report_derivative(out, {.dudt = dudt.value()}, u.value());        // no guard acts on this derivative
  return out;
}

// A row with s < t costs 3 for a taped tangent (1 and a backward pass of 2), 1 for the network's own velocity, and 2 for u and its tangent in space without
// history.
Needs EsdConfig::needs() const {
  const double share = 1 - pairs.diagonal_share;
  return {.row_weight = row_weight, .taped_tangent = share, .passes = share * (3 + (velocity == "own" ? 1 : 0) + (through_space ? 0 : 2))};
}

Claims EsdConfig::claims() const {
  if (velocity == "own") return claims_under(metric);
  return {.unbiased = false, .why = "the gradient through the derivative along a noisy w also minimizes the variance of the residual"};
}

Drawn EsdConfig::draw(const Batch& batch, const Nets&, const TrainingStep&) const { return {draw_path_batch(batch, pairs, labels), {}}; }
ObjectiveLoss EsdConfig::loss(const Nets& nets, const Drawn& drawn) const { return esd(nets.net, drawn.p, nets.velocity, *this, nets.log_variance); }
std::string EsdConfig::not_recorded(const std::string& keys) const { return pairs.varies(keys + ".pairs"); }

// Boffi et al. 2025: mean squares under a learned weight, uniform times up to 1.
EsdConfig EsdConfig::published() {
  EsdConfig c;
  c.row_weight = true;
  c.pairs.time.upper = c.pairs.time.shift = 1;
  return c;
}

}  // namespace fm
