#include "flowmap/objective/tvm.h"

#include <algorithm>

#include "flowmap/jump.h"
#include "flowmap/objective/terms.h"

namespace fm {
namespace {

Pairs gap_first_pairs(const TvmConfig& config, const Draws& draws, std::int64_t dim) {
  const double alpha = config.time.alpha(dim), upper = config.time.upper;
  const TimeConfig of_gap{"logit_normal", config.gap_mean, config.gap_deviation, upper, 1};
  TimeConfig of_end = config.time;
  of_end.shift = 1;
  Pairs pairs;
  for (std::size_t i = 0; i < draws.rows(); ++i) {
    const double gap = of_gap(draws.uniform(Purpose::time, i, 0), dim);
    of_end.upper = upper - gap;
    const double s = std::min(of_end(draws.uniform(Purpose::time, i, 1), dim), of_end.upper);      // far in the tail, rounding can put the quantile above upper
    pairs.s.push_back(shift_time(s, alpha));
    pairs.t.push_back(shift_time(s + gap, alpha));
    pairs.order.push_back(static_cast<std::int64_t>(i));
  }
  pairs.off_diagonal = std::ssize(pairs.t);
  return pairs;
}

// d_s f - v-(f, s) on the rows with s < t
Var terminal_residual(const FlowMapNet& net, const FlowMapNet& target, const PathBatch& p) {
  const std::int64_t k = p.off_diagonal;
  const Tensor z = first_rows(p.z, k), s = first_rows(p.s, k), t = first_rows(p.t, k), gap = t - s;
  const Labels y = first_rows(p.y, k);
  const auto [u, duds] = end_derivative(net, z, s, t, y, k, true);
  return u - column(gap, z.rank()) * duds - evaluate(diagonal(target), moved(z, gap, u.value()), s, y);
}

PathBatch on_diagonal(const PathBatch& p, const Tensor& time) {
  PathBatch out = p;
  out.s = out.t = time;
  out.z = interpolate(p.z0, p.eps, time);
  out.off_diagonal = 0;
  return out;
}

}  // namespace

ObjectiveLoss tvm(const FlowMapNet& net, const PathBatch& p, const Tensor& second_time, const VelocitySource& velocity, const TvmConfig& config,
                  const FlowMapNet& target) {
  std::vector<Term> terms;
  if (p.off_diagonal > 0) terms.push_back({"terminal", measure(terminal_residual(net, target ? target : net, p), config.metric)});
  const PathBatch second = on_diagonal(p, second_time);
  terms.push_back({"flow_matching", measure(net(second.z, second.s, second.t, second.y) - velocity(second), config.metric)});
  return report_terms(terms, p.s, p.t, p.off_diagonal);
}

// Two passes with gradients, one of which has a taped tangent (3 more), and the velocity at the jump's end (1).
Needs TvmConfig::needs() const {
  return {.target_decay = target_decay > 0 ? target_decay : -1, .taped_tangent = 0.5, .rows = 2, .passes = 0.5 * (3 + 1)};
}
Claims TvmConfig::claims() const { return claims_under(metric); }

TvmConfig TvmConfig::published() {
  TvmConfig c;
  c.time.upper = c.second_time.upper = 1;
  c.time.shift = c.second_time.shift = 1;
  return c;
}

Drawn TvmConfig::draw(const Batch& batch, const Nets&, const TrainingStep& now) const {
  const Pairs pairs = gap_first_pairs(*this, batch.draws, batch.z0.numel() / batch.z0.dim(0));
  return complete(place_on_path(batch, pairs, drop_labels(batch.y, labels, batch.draws)), now);
}

Drawn TvmConfig::complete(PathBatch p, const TrainingStep&) const {
  const std::int64_t dim = p.z.numel() / p.rows();
  std::vector<double> second;
  for (std::size_t i = 0; i < p.draws.rows(); ++i) second.push_back(second_time(p.draws.uniform(Purpose::second_time, i), dim));
  Tensor of_rows = Tensor::from(second, {p.rows()}).to(p.z.dtype());
  return {std::move(p), {{"second_time", std::move(of_rows)}}};
}

ObjectiveLoss TvmConfig::loss(const Nets& nets, const Drawn& drawn) const {
  return tvm(nets.net, drawn.p, drawn["second_time"], nets.velocity, *this, nets.target);
}
std::string TvmConfig::not_recorded(const std::string&) const { return ""; }

}  // namespace fm
