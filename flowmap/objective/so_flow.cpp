#include "flowmap/objective/so_flow.h"

#include <fmt/format.h>

#include <algorithm>

#include "flowmap/objective/alpha_flow.h"

namespace fm {
namespace {

constexpr double smallest_alpha = 1e-6;

// draw_pairs() decides which rows have s = t, s = 0 or t = 1. All other times are then made anew from the same random numbers: t from the first, s from the
// second.
Pairs draw_times(const SoFlowConfig& config, const Draws& draws, std::int64_t dim, const std::vector<bool>& on_diagonal) {
  Pairs p = draw_pairs(config.pairs, draws, dim, on_diagonal);
  for (std::size_t i = 0; i < p.t.size(); ++i) {
    const auto row = static_cast<std::size_t>(p.order[i]);
    const double first = draws.uniform(Purpose::time, row, 0), second = draws.uniform(Purpose::time, row, 1);
    if (static_cast<std::int64_t>(i) >= p.off_diagonal) {
      p.s[i] = p.t[i] = config.diagonal_time(first, dim);
      continue;
    }
    if (p.t[i] < 1) p.t[i] = std::max(config.pairs.time(first, dim), config.smallest_step);         // a row that begins at noise stays there
    if (p.s[i] > 0) p.s[i] = std::min(config.end_time(second, dim), p.t[i] - config.smallest_step);
  }
  return p;
}

}  // namespace

Needs SoFlowConfig::needs() const { return {.passes = 1 - pairs.diagonal_share}; }

Claims SoFlowConfig::claims() const {
  const double last = alpha.last();
  return {false, false, fmt::format("straight steps along w, alpha = {} times t - s long: an error of second order if w is the velocity, a bias of first "
                                    "order if w = eps - z0", last)};
}

// Steps are at least smallest_step long. In shorter steps the rounding of f32 networks dominates the difference of the two ends.
Drawn SoFlowConfig::complete(PathBatch p, const TrainingStep& now) const {
  const Tensor gap = clamp(p.t.to(DType::f64) - p.s.to(DType::f64), smallest_step, 1);
  Tensor of_rows = clamp(smallest_step * reciprocal(gap), alpha.at(now), 1).to(p.z.dtype());
  return {std::move(p), {{"alpha", std::move(of_rows)}}};
}

Drawn SoFlowConfig::draw(const Batch& batch, const Nets&, const TrainingStep& now) const {
  const Labels dropped = drop_labels(batch.y, labels, batch.draws);
  const auto on_diagonal = pairs.null_rows_diagonal ? is_null(dropped, labels.null_label) : std::vector<bool>{};
  return complete(place_on_path(batch, draw_times(*this, batch.draws, batch.z0.numel() / batch.z0.dim(0), on_diagonal), dropped), now);
}

ObjectiveLoss SoFlowConfig::loss(const Nets& nets, const Drawn& drawn) const {
  const PathBatch& p = drawn.p;
  const Tensor& a = drawn["alpha"];
  Measured m = measure(alpha_flow_residual(nets.net, p, nets.velocity, a) / column(a, p.z.rank()), metric, a);
  m.raw = m.raw * square(a);
  return report(m, p.s, p.t, p.off_diagonal);
}

// zlab-princeton/SoFlow, ImageNet.
SoFlowConfig SoFlowConfig::published() {
  SoFlowConfig c;
  for (TimeConfig* time : {&c.pairs.time, &c.end_time, &c.diagonal_time}) time->upper = time->shift = 1;
  c.metric = {"adaptive", "mean", 0.01, 1};
  return c;
}

std::string SoFlowConfig::not_recorded(const std::string& keys) const { return pairs.varies(keys + ".pairs"); }
void SoFlowConfig::check(const std::string& keys, std::int64_t steps) const { alpha.check(keys + ".alpha", steps, smallest_alpha, 1); }

}  // namespace fm
