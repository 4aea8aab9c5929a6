#include "flowmap/objective/shortcut.h"

#include <cmath>
#include <numeric>

#include "tensor/error.h"

namespace fm {
namespace {

int levels(std::int64_t finest) {
  int n = 0;
  while ((std::int64_t{1} << n) < finest) ++n;
  if ((std::int64_t{1} << n) != finest) throw ConfigError("shortcut: finest is " + std::to_string(finest) + ", not a power of 2");
  return n;
}

// The first rows get jumps (the share by count), the others flow matching.
Pairs draw_jumps(const ShortcutConfig& config, const Draws& draws, std::int64_t dim) {
  const int n = levels(config.finest);
  Pairs p;
  p.off_diagonal = std::lround(config.bootstrap_share * static_cast<double>(draws.rows()));
  for (std::size_t i = 0; i < draws.rows(); ++i) {
    const bool jump = static_cast<std::int64_t>(i) < p.off_diagonal;
    const double parts = std::exp2(std::floor(draws.uniform(Purpose::shortcut, i, 0) * n));        // 1/d
    const double t = jump ? (std::floor(draws.uniform(Purpose::shortcut, i, 1) * parts) + 1) / parts
                          : config.time(draws.uniform(Purpose::time, i), dim);
    p.t.push_back(t);
    p.s.push_back(jump ? t - 1 / parts : t);
  }
  p.order.resize(draws.rows());
  std::iota(p.order.begin(), p.order.end(), 0);
  return p;
}

Tensor two_half_jumps(const FlowMapNet& net, const PathBatch& p, double limit) {
  const std::int64_t k = p.off_diagonal;
  const Tensor z = first_rows(p.z, k), s = first_rows(p.s, k), t = first_rows(p.t, k), half = 0.5 * (t - s), middle = t - half;
  const Labels y = first_rows(p.y, k);
  const Tensor u1 = evaluate(net, z, middle, t, y);
  Tensor z1 = moved(z, half, u1);
  if (limit > 0) z1 = clamp(z1, -limit, limit);
  return 0.5 * (u1 + evaluate(net, z1, s, middle, y));
}

}  // namespace

ObjectiveLoss shortcut(const FlowMapNet& net, const Batch& batch, const VelocitySource& velocity, const ShortcutConfig& config,
                       const FlowMapNet& target) {
  const Pairs pairs = draw_jumps(config, batch.draws, batch.z0.numel() / batch.z0.dim(0));
  const PathBatch p = place_on_path(batch, pairs, drop_labels(batch.y, config.labels, batch.draws));
  const std::int64_t k = p.off_diagonal;
  Tensor y = velocity(p);
  if (k > 0) y = with_first_rows(y, two_half_jumps(target ? target : net, p, config.clamp));
  return report(measure(net(p.z, p.s, p.t, p.y) - y, config.metric), p.s, p.t, k);
}

}  // namespace fm
