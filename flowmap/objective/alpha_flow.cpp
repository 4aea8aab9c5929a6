#include "flowmap/objective/alpha_flow.h"

#include <cmath>

namespace fm {
namespace {

// y on the off-diagonal rows; w has their velocities
Tensor off_diagonal_target(const FlowMapNet& net, const PathBatch& p, const Tensor& w, const AlphaFlowConfig& config) {
  const std::int64_t k = w.dim(0);
  const double a = config.alpha;
  const Tensor z = first_rows(p.z, k), s = first_rows(p.s, k), t = first_rows(p.t, k), step = a * (t - s);
  if (a == 1) return w;
  const Tensor y = a * w + (1 - a) * evaluate(net, moved(z, step, w), s, t - step, first_rows(p.y, k));
  return config.clamp > 0 ? clamp(y, -config.clamp, config.clamp) : y;
}

// 1 on diagonal rows; alpha (adaptive metric) or 1/alpha on the others
Tensor weights(const PathBatch& p, const AlphaFlowConfig& config) {
  std::vector<double> w(static_cast<std::size_t>(p.rows()), 1);
  const double off = config.metric.kind == "l2" ? 1 / config.alpha : config.alpha;
  for (std::int64_t i = 0; i < p.off_diagonal; ++i) w[static_cast<std::size_t>(i)] = off;
  return Tensor::from(w, {p.rows()}).to(p.z.dtype());
}

MeanFlowConfig limit(const AlphaFlowConfig& config) {
  MeanFlowConfig c;
  c.pairs = config.pairs;
  c.labels = config.labels;
  c.derivative = config.derivative;
  c.metric = config.metric;
  return c;
}

}  // namespace

double alpha_at(double step, double begin, double end, double steepness) {
  const double x = (step - begin) / (end - begin);
  const double alpha = 1 / (1 + std::exp(steepness * (x - 0.5)));
  return alpha < 0.005 ? 0 : alpha > 0.995 ? 1 : alpha;
}

ObjectiveLoss alpha_flow(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const AlphaFlowConfig& config) {
  if (config.alpha == 0) return mean_flow(net, p, velocity, limit(config));
  const std::int64_t k = p.off_diagonal;
  Tensor y = velocity(p);
  if (k > 0) y = with_first_rows(y, off_diagonal_target(net, p, first_rows(y, k), config));
  const Var u = net(p.z, p.s, p.t, p.y);
  return report(measure(u - y, config.metric, weights(p, config)), p.s, p.t, k);
}

ObjectiveLoss alpha_flow(const FlowMapNet& net, const Batch& batch, const VelocitySource& velocity, const AlphaFlowConfig& config) {
  return alpha_flow(net, draw_path_batch(batch, config.pairs, config.labels), velocity, config);
}

}  // namespace fm
