#include "flowmap/objective/mean_flow.h"

namespace fm {
namespace {

FlowPoint point(const PathBatch& p, const MeanFlowConfig& config) {
  if (config.compat.fd_share_label_drop) return {p.z, p.s, p.t, p.y, {}, {}};
  const auto again = [&](std::uint32_t copy) { return drop_labels(p.y, config.labels, p.draws, Purpose::label_redrop, copy); };
  return {p.z, p.s, p.t, again(0), again(1), again(2)};
}

MetricConfig metric(const MeanFlowConfig& config) {
  return config.compat.squared_adaptive_metric ? MetricConfig{"squared_adaptive", "sum", 1e-3, 1} : config.metric;
}

ObjectiveLoss loss_of(const FlowMapNet& net, const Drawn& drawn, const VelocitySource& velocity, const MeanFlowConfig& config) {
  const PathBatch& p = drawn.p;
  const std::int64_t k = p.off_diagonal;                                   // rows with s < t: the only ones with a derivative
  const Tensor w = velocity(p);
  const auto [u, raw_dudt] = differentiate(net, point(p, config), k > 0 ? first_rows(w, k) : Tensor(), config.used_derivative());
  const GuardedTangent tangent = guard(raw_dudt, p.rows(), config.tangent, warmup_of(drawn, config.tangent));

  Tensor target = w;
  if (k > 0) target = minus_first_rows(w, column(first_rows(p.t - p.s, k), w.rank()) * tangent.dudt);
  target = guarded_target(target, u.value(), config.tangent);

  ObjectiveLoss out = report(measure(u - target, metric(config), tangent.weight), p.s, p.t, k);
  report_derivative(out, tangent, u.value());
  return out;
}

}  // namespace

ObjectiveLoss mean_flow(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const MeanFlowConfig& config,
                        const TrainingStep& now) {
  return loss_of(net, config.complete(p, now), velocity, config);
}

DerivativeConfig MeanFlowConfig::used_derivative() const {
  DerivativeConfig d = derivative;
  d.clamp_times = d.clamp_times && compat.clamp_fd_times;
  return d;
}

Needs MeanFlowConfig::needs() const { return {.passes = (1 - pairs.diagonal_share) * derivative.evaluations()}; }
Drawn MeanFlowConfig::complete(PathBatch p, const TrainingStep& now) const { return with_warmup(std::move(p), tangent, now); }
Drawn MeanFlowConfig::draw(const Batch& batch, const Nets&, const TrainingStep& now) const { return complete(draw_path_batch(batch, pairs, labels), now); }
ObjectiveLoss MeanFlowConfig::loss(const Nets& nets, const Drawn& drawn) const { return loss_of(nets.net, drawn, nets.velocity, *this); }

std::string MeanFlowConfig::not_recorded(const std::string& keys) const {
  const std::string why = pairs.varies(keys + ".pairs");
  return !why.empty() || compat.fd_share_label_drop ? why : "labels are dropped inside the loss because compat.fd_share_label_drop is false";
}
Claims MeanFlowConfig::claims() const { return claims_of_derivative(derivative, tangent, claims_under(fm::metric(*this), tangent)); }

// Geng et al. 2025, ImageNet: two logit-normal times, a quarter of the rows with s < t, the adaptive weight.
MeanFlowConfig MeanFlowConfig::published() {
  MeanFlowConfig c;
  c.pairs.time = {.distribution = "logit_normal", .mean = -0.4, .deviation = 1, .upper = 1, .shift = 1};
  c.pairs.diagonal_share = 0.75;
  c.metric = {"adaptive", "sum", 0.01, 1};
  return c;
}

}  // namespace fm
