#include "flowmap/objective/tim.h"

namespace fm {
namespace {

// 1 / sqrt(tan t - tan s + 1);  tan t - tan s = sin(t - s) / (cos t cos s)
Tensor weights(const PathBatch& p, const TransitionModelConfig& config) {
  if (!config.tangent_weight) return {};
  return exp(log(sin(p.t - p.s) / (cos(p.t) * cos(p.s)) + 1.0) * -0.5);
}

}  // namespace

ObjectiveLoss transition_model(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const TransitionModelConfig& config) {
  const std::int64_t k = p.off_diagonal;
  const Tensor path = k > 0 ? conditional_velocity(first_rows(p.z0, k), first_rows(p.eps, k)) : Tensor();
  Tensor target = velocity(p);
  const auto [u, dudt] = differentiate(net, {p.z, p.s, p.t, p.y, {}, {}}, path, config.derivative);
  if (k > 0) target = minus_first_rows(target, column(first_rows(p.t - p.s, k), p.z.rank()) * dudt);

  ObjectiveLoss out = report(measure(u - target, config.metric, weights(p, config)), p.s, p.t, k);
  report_derivative(out, {.dudt = dudt}, u.value());        // no guard acts on this derivative
  return out;
}

Needs TransitionModelConfig::needs() const { return {.passes = (1 - pairs.diagonal_share) * derivative.evaluations()}; }

Claims TransitionModelConfig::claims() const {
  Claims claims = claims_of_derivative(derivative, {}, claims_under(metric));
  if (claims.exact) claims.exact = false, claims.why += std::string(claims.why.empty() ? "" : "; ") + "the derivative is along eps - z0, whatever w is";
  return claims;
}

// WZDTHU/TiM.
TransitionModelConfig TransitionModelConfig::published() {
  TransitionModelConfig c;
  c.metric = {"adaptive", "mean", 1e-5, 1};
  c.pairs.time.upper = 1, c.pairs.time.shift = 1;
  c.derivative.clamp_times = false;
  return c;
}

Drawn TransitionModelConfig::draw(const Batch& batch, const Nets&, const TrainingStep&) const { return {draw_path_batch(batch, pairs, labels), {}}; }
ObjectiveLoss TransitionModelConfig::loss(const Nets& nets, const Drawn& drawn) const { return transition_model(nets.net, drawn.p, nets.velocity, *this); }
std::string TransitionModelConfig::not_recorded(const std::string& keys) const { return pairs.varies(keys + ".pairs"); }

}  // namespace fm
