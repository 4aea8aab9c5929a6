#include "flowmap/objective/improved_mean_flow.h"

#include <fmt/format.h>

#include "flowmap/jump.h"
#include "tensor/error.h"

namespace fm {
namespace {

// v (k, ...): the direction of z. dudt is recorded if through_derivative is set.
TapedDerivative own_derivative(const FlowMapNet& net, const PathBatch& p, const Tensor& v, const ImprovedMeanFlowConfig& config) {
  if (config.through_derivative) return taped_derivative(net, p, v);
  const auto [u, dudt] = differentiate(net, {p.z, p.s, p.t, p.y, {}, {}}, v, config.derivative);
  return {u, dudt};
}

}  // namespace

ObjectiveLoss improved_mean_flow(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const ImprovedMeanFlowConfig& config) {
  config.check(std::string(ImprovedMeanFlowConfig::name), 0);
  const std::int64_t k = p.off_diagonal, rows = p.rows();
  const SelfGuidance guidance = config.guidance();
  Tensor w = velocity(p), own;                                             // own: the network's velocity at all points
  if (guidance.acts()) {
    const OwnVelocities both = own_velocities(diagonal(net), p, guidance);
    own = both.labelled, w = guided(p, w, both, guidance);
  }
  if (k == 0) return report(measure(net(p.z, p.s, p.t, p.y) - w, config.metric), p.s, p.t, k);

  const Tensor z = first_rows(p.z, k), t = first_rows(p.t, k), gap = t - first_rows(p.s, k);
  const Tensor v = own.defined() ? first_rows(own, k) : evaluate(diagonal(net), z, t, first_rows(p.y, k));
  const auto [u, dudt] = own_derivative(net, p, v, config);
  std::vector<Var> residual{slice(u, 0, 0, k) + column(gap, z.rank()) * dudt - first_rows(w, k)};
  if (k < rows) residual.push_back(slice(u, 0, k, rows) - rows_from(w, k));
  ObjectiveLoss out = report(measure(joined_rows(residual), config.metric), p.s, p.t, k);
  report_derivative(out, {.dudt = dudt.value()}, u.value());        // no guard acts on this derivative
  return out;
}

Needs ImprovedMeanFlowConfig::needs() const {
  const double share = 1 - pairs.diagonal_share;
  const bool acts = guidance().acts();
  return {.labels = acts, .taped_tangent = through_derivative ? share : 0,
          .passes = (acts ? 2 : share) + share * (through_derivative ? 3 : derivative.evaluations())};
}
Claims ImprovedMeanFlowConfig::claims() const {
  Claims claims = claims_of_derivative(derivative, {}, claims_under(metric));
  claims.flow_map = !guidance().acts();
  return claims;
}

void ImprovedMeanFlowConfig::check(const std::string& keys, std::int64_t) const {
  check_guidance(guidance(), labels, keys);
  if (through_derivative && derivative.kind != "jvp")
    throw ConfigError(fmt::format("{}.derivative.kind = {}: gradients can pass only through an exact derivative: choose jvp, or set {}.through_derivative = false",
                                  keys, derivative.kind, keys));
}

Drawn ImprovedMeanFlowConfig::draw(const Batch& batch, const Nets&, const TrainingStep&) const { return {draw_path_batch(batch, pairs, labels), {}}; }
ObjectiveLoss ImprovedMeanFlowConfig::loss(const Nets& nets, const Drawn& drawn) const { return improved_mean_flow(nets.net, drawn.p, nets.velocity, *this); }
std::string ImprovedMeanFlowConfig::not_recorded(const std::string& keys) const { return pairs.varies(keys + ".pairs"); }

ImprovedMeanFlowConfig ImprovedMeanFlowConfig::published() {
  ImprovedMeanFlowConfig c;
  c.pairs.time = {.distribution = "logit_normal", .mean = -0.4, .deviation = 1, .upper = 1, .shift = 1};
  c.pairs.diagonal_share = 0.5;
  c.metric = {"adaptive", "sum", 0.01, 1};
  return c;
}

}  // namespace fm
