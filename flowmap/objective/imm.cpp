#include "flowmap/objective/imm.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "flowmap/jump.h"
#include "tensor/error.h"

namespace fm {
namespace {

constexpr double most_noise = 160, nearest = 1e-8;

// For each row: r, the weight, and the width of the kernel. In f64, because t - r is as small as 1e-6.
NamedTensors numbers_of(const PathBatch& p, const ImmConfig& config) {
  const Tensor t = p.t.to(DType::f64), s = p.s.to(DType::f64), data = 1.0 - t, both = square(data) + square(t);
  const Tensor eta = maximum(t / data - most_noise / std::exp2(static_cast<double>(config.halvings)), Tensor::zeros(t.shape(), DType::f64, t.device()));
  const Tensor r = maximum(s, eta / (1.0 + eta));
  const Tensor falling = config.power == 1 ? Tensor::ones(t.shape(), DType::f64, t.device()) : exp(log(data) * (config.power - 1));
  const Tensor weight = t * falling / ((square(t) + std::exp(-config.bias) * square(data)) * both);
  const Tensor c_out = config.scale == "time" ? t : config.deviation * t / sqrt(both);
  const double elements = static_cast<double>(p.z.numel() / p.rows());
  const DType dtype = p.z.dtype();
  return {{"middle", r.to(dtype)}, {"weight", weight.to(dtype)}, {"width", (elements * c_out).to(dtype)}};
}

// One number per row (G M) -> one per group (G, 1, 1): that of the group's first row.
Tensor of_groups(const Tensor& per_row, std::int64_t group) {
  return per_row.reshape({per_row.dim(0) / group, group}).slice(1, 0, 1).unsqueeze(2);
}

// a and b (G, M, D) -> k(a_j, b_k) (G, M, M). A distance below `nearest` has no gradient: a member's distance from itself is 0.
Var kernel(const Var& a, const Var& b, const Tensor& width) {
  const Var squares = sum(square(unsqueeze(a, 2) - unsqueeze(b, 1)), {3});
  return exp(-(sqrt(maximum(squares, Tensor::scalar(nearest * nearest, squares.dtype(), squares.value().device()))) / width));
}

ObjectiveLoss loss_of(const FlowMapNet& net, const Drawn& drawn, const ImmConfig& config) {
  const PathBatch& p = drawn.p;
  const std::int64_t rows = p.rows(), group = config.group, groups = rows / group;
  if (rows % group != 0) throw ShapeError(fmt::format("imm: {} rows do not form whole groups: the number of rows must be a multiple of {}", rows, group));
  const Tensor &r = drawn["middle"], width = of_groups(drawn["width"], group);
  const Shape grouped{groups, group, p.z.numel() / rows};
  const Var y = reshape(jump(net, p.z, p.s, p.t, p.y), grouped);
  const Tensor other = jumped(net, interpolate(p.z0, p.eps, r), p.s, r, p.y).reshape(grouped);
  const Var distance = mean(kernel(y, y, width) - 2.0 * kernel(y, other, width) + kernel(other, other, width), {1, 2});         // (G)
  const Var loss = mean(distance * of_groups(drawn["weight"], group).reshape({groups}));
  const Tensor raw = (distance.value() / static_cast<double>(group)).unsqueeze(1).expand({groups, group}).reshape({rows});
  return report({loss, raw}, p.s, p.t, p.off_diagonal);
}

}  // namespace

Pairs draw_groups(const ImmConfig& config, const Draws& draws) {
  const std::int64_t rows = std::ssize(draws.samples), group = config.group;
  Draws by_group{draws.seed, draws.step, {}};
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t sample = draws.samples[static_cast<std::size_t>(i)];
    if ((i % group > 0 && sample / group != by_group.samples.back()) || rows % group != 0)
      throw ShapeError(fmt::format("imm: row {} of {} has sample number {}: rows must form whole groups of {} consecutive sample numbers", i, rows, sample, group));
    by_group.samples.push_back(sample / group);
  }
  Pairs pairs;
  for (std::size_t i = 0; i < by_group.rows(); ++i) {
    pairs.t.push_back(config.low + (config.high - config.low) * by_group.uniform(Purpose::group, i, 0));
    pairs.s.push_back(config.low + (pairs.t.back() - config.low) * by_group.uniform(Purpose::group, i, 1));
  }
  pairs.order.resize(by_group.rows());
  std::iota(pairs.order.begin(), pairs.order.end(), 0);
  pairs.off_diagonal = rows;
  return pairs;
}

ObjectiveLoss imm(const FlowMapNet& net, const PathBatch& p, const ImmConfig& config) { return loss_of(net, config.complete(p, {}), config); }

Needs ImmConfig::needs() const { return {.velocity = false, .group = group, .jumps = Jumps::off_diagonal, .passes = 1}; }
Claims ImmConfig::claims() const {
  return {false, false, fmt::format("the minimum is any map with the right samples, up to a bias of order 1/{}, because groups have {} rows", group, group),
          false};
}

void ImmConfig::check(const std::string& keys, std::int64_t) const {
  if (low >= high) throw ConfigError(fmt::format("{}.low = {} is not below {}.high = {}: lower the first or raise the second", keys, low, keys, high));
}

Drawn ImmConfig::draw(const Batch& batch, const Nets&, const TrainingStep& now) const {
  return complete(place_on_path(batch, draw_groups(*this, batch.draws), drop_labels(batch.y, labels, batch.draws)), now);
}
Drawn ImmConfig::complete(PathBatch p, const TrainingStep&) const {
  NamedTensors numbers = numbers_of(p, *this);
  return {std::move(p), std::move(numbers)};
}
ObjectiveLoss ImmConfig::loss(const Nets& nets, const Drawn& drawn) const { return loss_of(nets.net, drawn, *this); }
std::string ImmConfig::not_recorded(const std::string&) const { return ""; }

}  // namespace fm
