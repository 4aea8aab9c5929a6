#include "flowmap/objective/facm.h"

#include <numbers>

#include "flowmap/objective/terms.h"

namespace fm {
namespace {

// 1 - cos(v, w) of each row (B): the cosine over channels, averaged over positions
Var one_minus_cosine(const Var& v, const Tensor& w) {
  const Var lengths = sqrt(maximum(sum(square(v), {1}) * sum(square(w), {1}), Tensor::scalar(1e-16, w.dtype())));
  const Var cosine = sum(v * w, {1}) / lengths;
  const double positions = static_cast<double>(cosine.numel()) / static_cast<double>(cosine.dim(0));
  return 1.0 - row_sums(cosine) / positions;
}

Tensor alpha(const Tensor& t, double power) { return 1.0 - exp(log(1.0 - t) * power); }

Tensor weights(const Tensor& t, const GuardedTangent& tangent, const FacmConfig& config) {
  Tensor out = config.sine_weight ? sin(t * (std::numbers::pi / 2)) : Tensor::ones(t.shape(), t.dtype());
  return tangent.weight.defined() ? out * tangent.weight : out;
}

ObjectiveLoss loss_of(const FlowMapNet& net, const Drawn& drawn, const VelocitySource& velocity, const FacmConfig& config) {
  const PathBatch& p = drawn.p;
  const Tensor w = velocity(p);
  const auto [u, raw_dudt] = differentiate(net, {p.z, p.s, p.t, p.y, {}, {}}, w, config.derivative);
  const GuardedTangent tangent = guard(raw_dudt, p.rows(), config.tangent, warmup_of(drawn, config.tangent));
  const Tensor to_target = guarded_correction(w - u.value() - column(p.t, p.z.rank()) * tangent.dudt, config.tangent);        // -g
  const Tensor target = u.value() + column(alpha(p.t, config.power), p.z.rank()) * to_target;
  const Measured consistency = measure(u - target, config.metric, weights(p.t, tangent, config));

  const Var v = net(p.z, p.t, p.t, p.y);
  Measured anchor = measure(v - w, {});
  if (config.cosine > 0) anchor.loss = anchor.loss + config.cosine * mean(one_minus_cosine(v, w));

  ObjectiveLoss out = report_terms({{"consistency", consistency}, {"anchor", anchor}}, p.s, p.t, p.off_diagonal);
  report_derivative(out, tangent, u.value());
  return out;
}

}  // namespace

ObjectiveLoss facm(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const FacmConfig& config, const TrainingStep& now) {
  return loss_of(net, config.complete(p, now), velocity, config);
}

Needs FacmConfig::needs() const { return {.jumps = Jumps::to_data, .rows = 2, .passes = derivative.evaluations() / 2}; }

Claims FacmConfig::claims() const {
  Claims claims = claims_of_derivative(derivative, tangent, claims_under(metric, tangent));
  if (claims.unbiased && cosine > 0) claims = {.unbiased = false, .why = "the cosine of the anchor depends on the direction of each w, not on their mean"};
  return claims;
}

// ali-vilab/FACM.
FacmConfig FacmConfig::published() {
  FacmConfig c;
  c.cosine = 1;
  c.metric = {"adaptive", "mean", 1e-3, 0.5};
  c.tangent.clamp_residual = 1;
  c.time.upper = 1, c.time.shift = 1;
  return c;
}

Drawn FacmConfig::complete(PathBatch p, const TrainingStep& now) const { return with_warmup(std::move(p), tangent, now); }
Drawn FacmConfig::draw(const Batch& batch, const Nets&, const TrainingStep& now) const { return complete(draw_jumps_to_data(batch, time, labels), now); }
ObjectiveLoss FacmConfig::loss(const Nets& nets, const Drawn& drawn) const { return loss_of(nets.net, drawn, nets.velocity, *this); }
std::string FacmConfig::not_recorded(const std::string&) const { return ""; }

}  // namespace fm
