#include "flowmap/objective/discrete_cm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "flowmap/jump.h"
#include "tensor/error.h"

namespace fm {
namespace {

// The grid's coordinate sigma^(1/rho), which rises from `low` in equal steps of `step`.
struct Spacing {
  double low, step, rho;

  double sigma(double index) const { return std::pow(low + index * step, rho); }
  double index_of(double sigma) const { return (std::pow(sigma, 1 / rho) - low) / step; }
};

Spacing spacing(const DiscreteCmConfig& c, std::int64_t points) {
  const double low = std::pow(c.sigma_min, 1 / c.rho), high = std::pow(c.sigma_max, 1 / c.rho);
  return {low, (high - low) / static_cast<double>(points - 1), c.rho};
}

// Maps a uniform number to a grid index 1 ... points - 1. With index = "log_normal" the index is that of the grid interval that contains a log-normal
// sigma, truncated to the grid. Otherwise all indices are equally likely.
std::int64_t index_of(const DiscreteCmConfig& c, const Spacing& grid, std::int64_t points, double uniform) {
  const auto intervals = static_cast<double>(points - 1);
  double x = uniform * intervals;
  if (c.index == "log_normal") {
    const auto below = [&](double sigma) { return normal_below((std::log(sigma) - c.mean) / c.deviation); };
    const double skipped = below(c.sigma_min) / below(c.sigma_max);
    const TimeConfig law{.distribution = "logit_normal", .mean = c.mean, .deviation = c.deviation, .upper = c.sigma_max / (1 + c.sigma_max), .shift = 1};
    const double t = law(skipped + uniform * (1 - skipped), 1);
    x = grid.index_of(t / (1 - t));
  }
  return 1 + static_cast<std::int64_t>(std::clamp(std::floor(x), 0.0, intervals - 1));
}

}  // namespace

ObjectiveLoss consistency_loss(const Nets& nets, const Drawn& drawn, const Tensor& earlier, const MetricConfig& metric) {
  const PathBatch& p = drawn.p;
  const Tensor y = jumped(nets.target ? nets.target : nets.net, earlier, p.s, drawn["r"], p.y);
  return report(measure(jump(nets.net, p.z, p.s, p.t, p.y) - y, metric, drawn["weight"]), p.s, p.t, p.off_diagonal);
}

ObjectiveLoss consistency_loss(const Nets& nets, const Drawn& drawn, const MetricConfig& metric) {
  const PathBatch& p = drawn.p;
  return consistency_loss(nets, drawn, moved(p.z, p.t - drawn["r"], nets.velocity(p)), metric);
}

// root: N^2 is linear in the step, and N is rounded up (ct: 2 ... 151). doubling: N - 1 doubles at equal intervals and has its final value in the last
// interval (ict: 10, 20, ... 1280).
std::int64_t DiscreteCmConfig::points(const TrainingStep& now) const {
  const auto first = static_cast<double>(first_points), last = static_cast<double>(last_points);
  if (growth == "root") {
    const double share = static_cast<double>(now.step) / static_cast<double>(now.total);
    return std::clamp(static_cast<std::int64_t>(std::ceil(std::sqrt(first * first + share * (last * last - first * first)))), first_points, last_points);
  }
  const double intervals = std::log2(std::floor((last - 1) / (first - 1))) + 1;
  const double each = std::max(1.0, std::floor(static_cast<double>(now.total) / intervals)), doublings = std::floor(static_cast<double>(now.step) / each);
  return 1 + static_cast<std::int64_t>(std::min((first - 1) * std::exp2(std::min(doublings, 30.0)), last - 1));
}

std::vector<double> DiscreteCmConfig::grid(std::int64_t points) const {
  const Spacing even = spacing(*this, points);
  std::vector<double> out;
  for (std::int64_t i = 0; i < points; ++i) {
    const double sigma = even.sigma(static_cast<double>(i));
    out.push_back(sigma / (1 + sigma));
  }
  return out;
}

Needs DiscreteCmConfig::needs() const { return {.target_decay = target_decay > 0 ? target_decay : -1, .jumps = Jumps::to_data, .passes = 1}; }

Claims DiscreteCmConfig::claims() const {
  return {false, false, fmt::format("straight steps along w between neighbors of {} grid points: an error of second order in the step if w is the velocity, "
                                    "a bias of first order if w = eps - z0", last_points)};
}

// r is one grid step below t, even if t is not on the grid. Computed in f64, because neighbors may be close.
Drawn DiscreteCmConfig::complete(PathBatch p, const TrainingStep& now) const {
  constexpr double lowest = 1e-3, no_limit = 1e300;
  const Tensor sigma = finite_sigma_of(p.t), below = exp(log(sigma) * (1 / rho)) - spacing(*this, points(now)).step;
  const Tensor earlier = exp(log(clamp(below, lowest, no_limit)) * rho);
  const DType dtype = p.z.dtype();
  Tensor r = time_of(earlier).to(dtype);
  Tensor of_rows = weight == "gap" ? reciprocal(sigma - earlier).to(dtype) : Tensor::ones({p.rows()}, dtype);
  return {std::move(p), {{"r", std::move(r)}, {"weight", std::move(of_rows)}}};
}

Drawn DiscreteCmConfig::draw(const Batch& batch, const Nets&, const TrainingStep& now) const {
  const std::int64_t n = points(now);
  const Spacing even = spacing(*this, n);
  const auto time = [&](std::size_t row) {
    const double sigma = even.sigma(static_cast<double>(index_of(*this, even, n, batch.draws.uniform(Purpose::time, row))));
    return sigma / (1 + sigma);
  };
  return complete(place_jumps_to_data(batch, time, labels), now);
}

ObjectiveLoss DiscreteCmConfig::loss(const Nets& nets, const Drawn& drawn) const { return consistency_loss(nets, drawn, metric); }
std::string DiscreteCmConfig::not_recorded(const std::string&) const { return ""; }

void DiscreteCmConfig::check(const std::string& keys, std::int64_t) const {
  if (sigma_min >= sigma_max)
    throw ConfigError(fmt::format("{0}.sigma_min = {1} is not below {0}.sigma_max = {2}: lower the first or raise the second", keys, sigma_min, sigma_max));
  if (first_points > last_points)
    throw ConfigError(fmt::format("{0}.first_points = {1} is above {0}.last_points = {2}: lower the first or raise the second", keys, first_points,
                                  last_points));
}

// Song et al. 2023, section 6.1: the decay of the average approaches 1 as the grid becomes finer.
double CtConfig::target_decay_at(const TrainingStep& now) const {
  return std::pow(target_decay, static_cast<double>(first_points) / static_cast<double>(points(now)));
}

// Song and Dhariwal 2023: c = .00054 sqrt(D) for data with deviation 1/2. With deviation 1 the residuals, and so c, are twice as large.
ObjectiveLoss IctConfig::loss(const Nets& nets, const Drawn& drawn) const {
  MetricConfig of_unit_deviation = metric;
  const double elements = static_cast<double>(drawn.p.z.numel()) / static_cast<double>(drawn.p.rows());
  if (metric.kind == "pseudo_huber" && metric.c == 0) of_unit_deviation.c = 2 * 0.00054 * std::sqrt(elements);
  return consistency_loss(nets, drawn, of_unit_deviation);
}

IctConfig IctConfig::published() {
  IctConfig c;
  c.metric = {"pseudo_huber"};
  return c;
}

Needs CdConfig::needs() const {
  Needs out = DiscreteCmConfig::needs();
  out.teacher = out.teacher_of_z = true, out.velocity = false, out.teacher_calls = solver == "euler" ? 1 : 2;
  return out;
}

Claims CdConfig::claims() const {
  return {false, false, fmt::format("the error of one solver step ({}) between neighbors of {} grid points", solver, last_points)};
}

ObjectiveLoss CdConfig::loss(const Nets& nets, const Drawn& drawn) const {
  const PathBatch& p = drawn.p;
  return consistency_loss(nets, drawn, step_back(nets.teacher, p.z, p.t, drawn["r"], solver_named(solver), 1, p.y), metric);
}

}  // namespace fm
