#include "flowmap/objective/flow_map_matching.h"

#include "flowmap/jump.h"
#include "flowmap/objective/terms.h"

namespace fm {
namespace {

// Draws two independent times per row. No row has s = t, so all rows count as off-diagonal.
Pairs two_times(const TimeConfig& time, const Draws& draws, std::int64_t dim) {
  Pairs pairs;
  for (std::size_t i = 0; i < draws.rows(); ++i) {
    pairs.s.push_back(time(draws.uniform(Purpose::time, i, 0), dim));
    pairs.t.push_back(time(draws.uniform(Purpose::time, i, 1), dim));
    pairs.order.push_back(static_cast<std::int64_t>(i));
  }
  pairs.off_diagonal = std::ssize(pairs.t);
  return pairs;
}

}  // namespace

ObjectiveLoss flow_map_matching(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const FlowMapMatchingConfig& config) {
  const Var there = jump(net, p.z, p.s, p.t, p.y);
  const auto [u, dudt] = end_derivative(net, there, p.t, p.s, p.y, p.rows(), true);
  const Tensor back = column(p.s - p.t, p.z.rank());
  const std::vector<Term> terms{{"velocity", measure(u - back * dudt - velocity(p), config.metric)},
                                {"inverse", measure(there - back * u - p.z, config.metric)}};
  return report_terms(terms, p.s, p.t, p.off_diagonal);
}

// Two passes with gradients; the taped tangent of the second costs 3 more.
Needs FlowMapMatchingConfig::needs() const { return {.taped_tangent = 0.5, .rows = 2, .passes = 0.5 * 3}; }
Claims FlowMapMatchingConfig::claims() const { return claims_under(metric); }

Drawn FlowMapMatchingConfig::draw(const Batch& batch, const Nets&, const TrainingStep&) const {
  const Pairs pairs = two_times(time, batch.draws, batch.z0.numel() / batch.z0.dim(0));
  return {place_on_path(batch, pairs, drop_labels(batch.y, labels, batch.draws)), {}};
}

ObjectiveLoss FlowMapMatchingConfig::loss(const Nets& nets, const Drawn& drawn) const {
  return flow_map_matching(nets.net, drawn.p, nets.velocity, *this);
}
std::string FlowMapMatchingConfig::not_recorded(const std::string&) const { return ""; }

// Boffi et al. 2024: uniform times up to 1.
FlowMapMatchingConfig FlowMapMatchingConfig::published() {
  FlowMapMatchingConfig c;
  c.time.upper = c.time.shift = 1;
  return c;
}

}  // namespace fm
