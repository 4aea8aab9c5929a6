#include "flowmap/objective/flow_matching.h"

#include <numeric>

namespace fm {
namespace {

Pairs diagonal_pairs(const TimeConfig& time, const Draws& draws, std::int64_t dim) {
  Pairs pairs;
  for (std::size_t i = 0; i < draws.rows(); ++i) pairs.t.push_back(time(draws.uniform(Purpose::time, i), dim));
  pairs.s = pairs.t;
  pairs.order.resize(draws.rows());
  std::iota(pairs.order.begin(), pairs.order.end(), 0);
  return pairs;
}

}  // namespace

PathBatch draw_diagonal(const Batch& batch, const FlowMatchingConfig& config) {
  const Pairs pairs = diagonal_pairs(config.time, batch.draws, batch.z0.numel() / batch.z0.dim(0));
  return place_on_path(batch, pairs, drop_labels(batch.y, config.labels, batch.draws));
}

ObjectiveLoss flow_matching(const VelocityNet& v, const PathBatch& p, const FlowMatchingConfig& config, const VelocitySource& velocity) {
  const Tensor w = velocity(p);
  return report(measure(v(p.z, p.t, p.y) - w, config.metric), p.s, p.t, 0);
}

Needs FlowMatchingConfig::needs() const { return {.jumps = Jumps::none}; }
Drawn FlowMatchingConfig::draw(const Batch& batch, const Nets&, const TrainingStep&) const { return {draw_diagonal(batch, *this), {}}; }
ObjectiveLoss FlowMatchingConfig::loss(const Nets& nets, const Drawn& drawn) const { return flow_matching(diagonal(nets.net), drawn.p, *this, nets.velocity); }
std::string FlowMatchingConfig::not_recorded(const std::string&) const { return ""; }
Claims FlowMatchingConfig::claims() const { return claims_under(metric); }

}  // namespace fm
