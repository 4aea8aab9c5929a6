#include "flowmap/objective/split_mean_flow.h"

namespace fm {
namespace {

// l of each row; rows with s = t do not use it.
Tensor draw_splits(const PathBatch& p) {
  std::vector<double> split;
  for (std::size_t i = 0; i < p.draws.rows(); ++i) split.push_back(p.draws.uniform(Purpose::split, i));
  return Tensor::from(split, {p.rows()}).to(p.z.dtype());
}

Tensor split_target(const FlowMapNet& net, const PathBatch& p, const Tensor& splits) {
  const std::int64_t k = p.off_diagonal;
  const Tensor l = first_rows(splits, k), l_column = column(l, p.z.rank());
  const Tensor z = first_rows(p.z, k), s = first_rows(p.s, k), t = first_rows(p.t, k), m = (1.0 - l) * t + l * s;
  const Labels y = first_rows(p.y, k);
  const Tensor u2 = evaluate(net, z, m, t, y);
  const Tensor u1 = evaluate(net, moved(z, t - m, u2), s, m, y);
  return l_column * u2 + (1.0 - l_column) * u1;
}

ObjectiveLoss loss_of(const FlowMapNet& net, const Drawn& drawn, const VelocitySource& velocity, const SplitMeanFlowConfig& config,
                      const LogVariance& log_variance) {
  const PathBatch& p = drawn.p;
  Tensor y = velocity(p);
  if (p.off_diagonal > 0) y = with_first_rows(y, split_target(net, p, drawn["split"]));
  return report_weighed(measure(net(p.z, p.s, p.t, p.y) - y, config.metric), p, config.row_weight, log_variance);
}

}  // namespace

ObjectiveLoss split_mean_flow(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity,
                              const SplitMeanFlowConfig& config, const LogVariance& log_variance) {
  return loss_of(net, config.complete(p, {}), velocity, config, log_variance);
}

Needs SplitMeanFlowConfig::needs() const { return {.row_weight = row_weight, .passes = 2 * (1 - pairs.diagonal_share)}; }

Drawn SplitMeanFlowConfig::complete(PathBatch p, const TrainingStep&) const {
  Tensor splits = draw_splits(p);
  return {std::move(p), {{"split", std::move(splits)}}};
}
Drawn SplitMeanFlowConfig::draw(const Batch& batch, const Nets&, const TrainingStep& now) const {
  return complete(draw_path_batch(batch, pairs, labels), now);
}

ObjectiveLoss SplitMeanFlowConfig::loss(const Nets& nets, const Drawn& drawn) const {
  return loss_of(nets.net, drawn, nets.velocity, *this, nets.log_variance);
}

std::string SplitMeanFlowConfig::not_recorded(const std::string& keys) const { return pairs.varies(keys + ".pairs"); }
Claims SplitMeanFlowConfig::claims() const { return claims_under(metric); }

// PSD of Boffi et al. 2025: mean squares under a learned weight, uniform times up to 1.
SplitMeanFlowConfig SplitMeanFlowConfig::published() {
  SplitMeanFlowConfig c;
  c.row_weight = true;
  c.pairs.time.upper = c.pairs.time.shift = 1;
  return c;
}

}  // namespace fm
