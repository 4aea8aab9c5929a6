#include "flowmap/objective/alpha_flow.h"

#include <fmt/format.h>

#include "tensor/error.h"

namespace fm {
namespace {

// The form of the loss. alpha is stored for each row, so a schedule can change it in a recorded step. alpha = 0 and alpha = 1 have forms of their own.
enum Variant : std::int64_t { between = 0, mean_flow_limit = 1, one_point_limit = 2 };

// y on the k off-diagonal rows; w and alpha have only these rows
Tensor off_diagonal_target(const FlowMapNet& net, const PathBatch& p, const Tensor& w, const Tensor& alpha, double limit) {
  const std::int64_t k = w.dim(0);
  const Tensor z = first_rows(p.z, k), s = first_rows(p.s, k), t = first_rows(p.t, k), step = alpha * (t - s), a = column(alpha, z.rank());
  const Tensor y = a * w + (1.0 - a) * evaluate(net, moved(z, step, w), s, t - step, first_rows(p.y, k));
  return limit > 0 ? clamp(y, -limit, limit) : y;
}

// y at alpha = 1, where it is w
Tensor one_point_target(const Tensor& w, std::int64_t k, double limit) {
  return limit > 0 && k > 0 ? with_first_rows(w, clamp(first_rows(w, k), -limit, limit)) : w;
}

// Row weights: 1 where s = t. Where s < t, 1/alpha for l2 and alpha for the adaptive metric, which divides by the residual itself
Tensor weights(const PathBatch& p, const Tensor& alpha, const MetricConfig& metric) {
  const std::int64_t k = p.off_diagonal;
  const Tensor ones = Tensor::ones({p.rows()}, alpha.dtype()), off = first_rows(alpha, k);
  return k == 0 ? ones : with_first_rows(ones, metric.kind == "l2" ? first_rows(ones, k) / off : off);
}

MeanFlowConfig limit_of(const AlphaFlowConfig& config) {
  MeanFlowConfig c;
  c.pairs = config.pairs;
  c.labels = config.labels;
  c.derivative = config.derivative;
  c.metric = config.metric;
  return c;
}

Drawn with_alpha(PathBatch p, const AlphaFlowConfig& config, const TrainingStep& now) {
  const double alpha = config.alpha.at(now);
  if (!(alpha >= 0 && alpha <= 1)) throw ConfigError(fmt::format("alpha_flow: alpha is {} at step {}; it must be between 0 and 1", alpha, now.step));
  Tensor of_rows = Tensor::full({p.rows()}, alpha, p.z.dtype());
  return {std::move(p), {{"alpha", std::move(of_rows)}}, alpha == 0 ? mean_flow_limit : alpha == 1 ? one_point_limit : between};
}

ObjectiveLoss loss_of(const FlowMapNet& net, const Drawn& drawn, const VelocitySource& velocity, const AlphaFlowConfig& config) {
  const PathBatch& p = drawn.p;
  if (drawn.variant == mean_flow_limit) return mean_flow(net, p, velocity, limit_of(config));
  const Tensor& alpha = drawn["alpha"];
  const Var residual = drawn.variant == between ? alpha_flow_residual(net, p, velocity, alpha, config.clamp)
                                                : net(p.z, p.s, p.t, p.y) - one_point_target(velocity(p), p.off_diagonal, config.clamp);
  return report(measure(residual, config.metric, weights(p, alpha, config.metric)), p.s, p.t, p.off_diagonal);
}

}  // namespace

Var alpha_flow_residual(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const Tensor& alpha, double limit) {
  const std::int64_t k = p.off_diagonal;
  Tensor y = velocity(p);
  if (k > 0) y = with_first_rows(y, off_diagonal_target(net, p, first_rows(y, k), first_rows(alpha, k), limit));
  return net(p.z, p.s, p.t, p.y) - y;
}

ObjectiveLoss alpha_flow(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const AlphaFlowConfig& config,
                         const TrainingStep& now) {
  config.check(std::string(AlphaFlowConfig::name), now.total);
  return loss_of(net, with_alpha(p, config, now), velocity, config);
}

Needs AlphaFlowConfig::needs() const { return {.passes = 1 - pairs.diagonal_share}; }

void AlphaFlowConfig::check(const std::string& keys, std::int64_t steps) const {
  alpha.check(keys + ".alpha", steps, 0, 1);
  if (metric.kind != "l2" && metric.kind != "adaptive")
    throw ConfigError(fmt::format("{}.metric.kind = {}: alpha-Flow's weight of rows with s < t is derived for l2 (1/alpha) and adaptive (alpha): choose "
                                  "l2 or adaptive", keys, metric.kind));
}

Drawn AlphaFlowConfig::complete(PathBatch p, const TrainingStep& now) const { return with_alpha(std::move(p), *this, now); }
Drawn AlphaFlowConfig::draw(const Batch& batch, const Nets&, const TrainingStep& now) const {
  return complete(draw_path_batch(batch, pairs, labels), now);
}
ObjectiveLoss AlphaFlowConfig::loss(const Nets& nets, const Drawn& drawn) const { return loss_of(nets.net, drawn, nets.velocity, *this); }
std::string AlphaFlowConfig::not_recorded(const std::string& keys) const { return pairs.varies(keys + ".pairs"); }
Claims AlphaFlowConfig::claims() const {
  if (const double last = alpha.at({999'999, 1'000'000}); last > 0)                    // a flat sigmoid does not reach its end
    return {false, false, fmt::format("straight steps along w, alpha = {} times t - s long: an error of first order in alpha, and a bias of first order "
                                      "if w = eps - z0", last)};
  return claims_of_derivative(derivative, {}, claims_under(metric));
}

// snap-research/alphaflow, B/2: half of the rows are flow matching, the weight is alpha / (mean square + c).
AlphaFlowConfig AlphaFlowConfig::published() {
  AlphaFlowConfig c;
  c.pairs.time = {.distribution = "logit_normal", .mean = -0.4, .deviation = 1, .upper = 1, .shift = 1};
  c.pairs.diagonal_share = 0.5;
  c.metric = {"adaptive", "mean", 1e-3, 1};
  return c;
}

}  // namespace fm
