#include "flowmap/objective/guided_mean_flow.h"

#include <fmt/format.h>

#include "tensor/error.h"

namespace fm {

Needs GuidedMeanFlowConfig::needs() const {
  Needs out = MeanFlowConfig::needs();
  out.labels = guidance().acts();
  out.passes += guidance().calls();
  return out;
}

Claims GuidedMeanFlowConfig::claims() const {
  Claims claims = MeanFlowConfig::claims();
  claims.flow_map = !guidance().acts();
  return claims;
}

ObjectiveLoss GuidedMeanFlowConfig::loss(const Nets& nets, const Drawn& drawn) const {
  Nets guided = nets;
  guided.velocity = self_guided(diagonal(nets.net), nets.velocity, guidance());
  return MeanFlowConfig::loss(guided, drawn);
}

void GuidedMeanFlowConfig::check(const std::string& keys, std::int64_t) const {
  check_guidance(guidance(), labels, keys);
}

std::vector<std::pair<std::string, GuidedMeanFlowConfig>> GuidedMeanFlowConfig::ports() {
  GuidedMeanFlowConfig official = published(), haoyizhu, zhuyu_cs = published();
  official.pairs.exact_share = official.pairs.null_rows_diagonal = true;
  haoyizhu = official;                                 // line by line but for the constant, which is its command line's default
  haoyizhu.metric.c = 1;
  zhuyu_cs.metric = {.kind = "squared_adaptive", .reduction = "sum", .c = 1e-3, .p = 1};
  return {{"official", official}, {"haoyizhu", haoyizhu}, {"zhuyu-cs", zhuyu_cs}};
}

GuidedMeanFlowConfig GuidedMeanFlowConfig::published() {
  GuidedMeanFlowConfig c;
  static_cast<MeanFlowConfig&>(c) = MeanFlowConfig::published();
  return c;
}

}  // namespace fm
