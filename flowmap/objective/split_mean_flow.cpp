#include "flowmap/objective/split_mean_flow.h"

namespace fm {
namespace {

Tensor split_target(const FlowMapNet& net, const PathBatch& p) {
  const std::int64_t k = p.off_diagonal;
  std::vector<double> split;
  for (std::int64_t i = 0; i < k; ++i) split.push_back(p.draws.uniform(Purpose::split, static_cast<std::size_t>(i)));
  const Tensor l = Tensor::from(split, {k}).to(p.z.dtype()), l_column = column(l, p.z.rank());
  const Tensor z = first_rows(p.z, k), s = first_rows(p.s, k), t = first_rows(p.t, k), m = (1.0 - l) * t + l * s;
  const Labels y = first_rows(p.y, k);
  const Tensor u2 = evaluate(net, z, m, t, y);
  const Tensor u1 = evaluate(net, moved(z, t - m, u2), s, m, y);
  return l_column * u2 + (1.0 - l_column) * u1;
}

}  // namespace

ObjectiveLoss split_mean_flow(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity,
                              const SplitMeanFlowConfig& config) {
  const std::int64_t k = p.off_diagonal;
  Tensor y = velocity(p);
  if (k > 0) y = with_first_rows(y, split_target(net, p));
  return report(measure(net(p.z, p.s, p.t, p.y) - y, config.metric), p.s, p.t, k);
}

ObjectiveLoss split_mean_flow(const FlowMapNet& net, const Batch& batch, const VelocitySource& velocity,
                              const SplitMeanFlowConfig& config) {
  return split_mean_flow(net, draw_path_batch(batch, config.pairs, config.labels), velocity, config);
}

}  // namespace fm
