#include "flowmap/objective/continuous_cm.h"

namespace fm {
namespace {

ObjectiveLoss loss_of(const FlowMapNet& net, const Drawn& drawn, const VelocitySource& velocity, const ContinuousCmConfig& config) {
  const PathBatch& p = drawn.p;
  const std::int64_t k = p.off_diagonal;
  const Tensor w = velocity(p), gap = column(p.t - p.s, p.z.rank());
  const auto [u, raw_dudt] = differentiate(net, {p.z, p.s, p.t, p.y, {}, {}}, k > 0 ? first_rows(w, k) : Tensor(), config.derivative);
  const GuardedTangent tangent = guard(raw_dudt, p.rows(), config.tangent, warmup_of(drawn, config.tangent));

  Tensor g = w - u.value();                                                // df/dt
  if (k > 0) g = minus_first_rows(g, first_rows(gap, k) * tangent.dudt);
  g = guarded_correction(g, config.tangent);

  const Var f_less_itself = gap * (u.value() - u);                         // f - sg f: zero, with the gradient of f
  Measured m = measure(f_less_itself + g, config.metric, tangent.weight);
  m.loss = 0.5 * m.loss;
  ObjectiveLoss out = report(m, p.s, p.t, k);
  report_derivative(out, tangent, u.value());
  return out;
}

}  // namespace

ObjectiveLoss continuous_cm(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const ContinuousCmConfig& config,
                            const TrainingStep& now) {
  return loss_of(net, config.complete(p, now), velocity, config);
}

Needs ContinuousCmConfig::needs() const { return {.passes = (1 - pairs.diagonal_share) * derivative.evaluations()}; }
Drawn ContinuousCmConfig::complete(PathBatch p, const TrainingStep& now) const { return with_warmup(std::move(p), tangent, now); }
Drawn ContinuousCmConfig::draw(const Batch& batch, const Nets&, const TrainingStep& now) const { return complete(draw_path_batch(batch, pairs, labels), now); }
ObjectiveLoss ContinuousCmConfig::loss(const Nets& nets, const Drawn& drawn) const { return loss_of(nets.net, drawn, nets.velocity, *this); }
std::string ContinuousCmConfig::not_recorded(const std::string& keys) const { return pairs.varies(keys + ".pairs"); }
// The gradient is (t-s) times MeanFlow's and is 0 at the same map.
Claims ContinuousCmConfig::claims() const { return claims_of_derivative(derivative, tangent, claims_under(metric, tangent)); }

// AYF (Sabour et al. 2025): two logit-normal times, a normalized tangent, a warm-up to 0.99.
ContinuousCmConfig ContinuousCmConfig::published() {
  ContinuousCmConfig c;
  c.pairs = {.time = {.distribution = "logit_normal", .mean = -0.8, .deviation = 1, .upper = 1, .shift = 1}, .diagonal_share = 0};
  c.tangent.warmup = 0.99, c.tangent.warmup_over = 10000;
  c.tangent.normalise = 0.1;
  return c;
}

}  // namespace fm
