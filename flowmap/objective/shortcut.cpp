#include "flowmap/objective/shortcut.h"

#include <fmt/format.h>

#include <cmath>

#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

int levels(std::int64_t finest) {
  int n = 0;
  while ((std::int64_t{1} << n) < finest) ++n;
  if ((std::int64_t{1} << n) != finest) throw ConfigError("shortcut: finest is " + std::to_string(finest) + ", not a power of 2");
  return n;
}

// Counted by sample number + step, every (1/share)-th sample is trained on a jump and the others by flow matching. So the share is exact, the choice does
// not depend on a sample's micro-batch or rank, and even a batch of fewer than 1/share rows has jumps at some steps.
bool has_jump(std::int64_t sample, std::uint32_t step, double share) {
  const auto n = static_cast<double>(sample + step);
  return std::floor((n + 1) * share) > std::floor(n * share);
}

// Successive jumps take the lengths in turn, so that all lengths are equally frequent.
int level_of(std::int64_t sample, std::uint32_t step, double share, int levels) {
  const auto jumps_before = static_cast<std::int64_t>(std::floor(static_cast<double>(sample + step) * share));
  return narrow<int>(jumps_before % levels);
}

Pairs draw_jumps(const ShortcutConfig& config, const Draws& draws, std::int64_t dim) {
  const int n = levels(config.finest);
  Pairs p;
  const auto add = [&](std::size_t i, bool jump) {
    const double parts = jump ? std::exp2(level_of(draws.samples[i], draws.step, config.bootstrap_share, n)) : 1;          // 1/d
    const double t = jump ? (std::floor(draws.uniform(Purpose::shortcut, i, 1) * parts) + 1) / parts
                          : config.time(draws.uniform(Purpose::time, i), dim);
    p.t.push_back(t);
    p.s.push_back(jump ? t - 1 / parts : t);
    p.order.push_back(static_cast<std::int64_t>(i));
  };
  for (const bool jump : {true, false}) {
    for (std::size_t i = 0; i < draws.rows(); ++i)
      if (has_jump(draws.samples[i], draws.step, config.bootstrap_share) == jump) add(i, jump);
    if (jump) p.off_diagonal = std::ssize(p.t);
  }
  return p;
}

Tensor two_half_jumps(const FlowMapNet& net, const PathBatch& p, double limit) {
  const std::int64_t k = p.off_diagonal;
  const Tensor z = first_rows(p.z, k), s = first_rows(p.s, k), t = first_rows(p.t, k), half = 0.5 * (t - s), middle = t - half;
  const Labels y = first_rows(p.y, k);
  const Tensor u1 = evaluate(net, z, middle, t, y);
  const auto cut = [limit](const Tensor& x) { return limit > 0 ? clamp(x, -limit, limit) : x; };
  const Tensor u2 = evaluate(net, cut(moved(z, half, u1)), s, middle, y);
  return cut(0.5 * (u1 + u2));
}

}  // namespace

PathBatch draw_dyadic_jumps(const Batch& batch, const ShortcutConfig& config) {
  const Pairs pairs = draw_jumps(config, batch.draws, batch.z0.numel() / batch.z0.dim(0));
  return place_on_path(batch, pairs, drop_labels(batch.y, config.labels, batch.draws));
}

ObjectiveLoss shortcut(const FlowMapNet& net, const PathBatch& p, const VelocitySource& velocity, const ShortcutConfig& config,
                       const FlowMapNet& target) {
  const std::int64_t k = p.off_diagonal;
  Tensor y = velocity(p);
  if (k > 0) y = with_first_rows(y, two_half_jumps(target ? target : net, p, config.clamp));
  return report(measure(net(p.z, p.s, p.t, p.y) - y, config.metric), p.s, p.t, k);
}

Needs ShortcutConfig::needs() const {
  return {.target_decay = target_decay > 0 ? target_decay : -1, .jumps = bootstrap_share > 0 ? Jumps::dyadic : Jumps::none, .passes = 2 * bootstrap_share};
}
Drawn ShortcutConfig::draw(const Batch& batch, const Nets&, const TrainingStep&) const { return {draw_dyadic_jumps(batch, *this), {}}; }
ObjectiveLoss ShortcutConfig::loss(const Nets& nets, const Drawn& drawn) const { return shortcut(nets.net, drawn.p, nets.velocity, *this, nets.target); }
void ShortcutConfig::check(const std::string& keys, std::int64_t) const {
  if (!is_power_of_two(static_cast<double>(finest))) throw ConfigError(fmt::format("{}.finest = {}: it must be a power of 2", keys, finest));
}
std::string ShortcutConfig::not_recorded(const std::string&) const { return ""; }
Claims ShortcutConfig::claims() const { return claims_under(metric); }        // holds for settings without clamps

// Frans et al. 2025: uniform times up to 1.
ShortcutConfig ShortcutConfig::published() {
  ShortcutConfig c;
  c.time.upper = c.time.shift = 1;
  return c;
}

}  // namespace fm
