#include "flowmap/objective/cmt.h"

#include <cmath>

#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

Grid told_times(const Grid& solved, const Compat& compat) {
  if (compat.cmt_time_labels == "true") return solved;
  if (compat.cmt_time_labels == "uniform") return plain_grid(narrow<int>(solved.size()) - 1);
  throw ConfigError("there is no cmt_time_labels '" + compat.cmt_time_labels + "': known are true and uniform");
}

struct PointPair {
  std::size_t from, to;                  // indices of states: from is noisier (earlier in the list)
};

// Maps x in [0, 1) to one of the n(n-1)/2 pairs with from < to, in the order (0,1), (0,2), (1,2), (0,3) ...
PointPair pair_of(double x, std::size_t n) {
  auto index = static_cast<std::size_t>(x * static_cast<double>(n * (n - 1) / 2));
  std::size_t to = 1;
  while (index >= to) index -= to++;
  return {index, to};
}

struct PairRows {
  std::vector<std::int64_t> from, to, trajectory;      // rows of the stacked states; numbers of the trajectories
  std::vector<double> t, s;
};

PairRows draw(const Trajectories& tr, const CmtConfig& config, std::uint32_t round) {
  const auto rows = static_cast<std::int64_t>(tr.draws.rows()), pairs = config.pairs;
  PairRows out;
  for (std::int64_t b = 0; b < rows; ++b)
    for (std::int64_t k = 0; k < pairs; ++k) {
      const auto number = narrow<std::uint32_t>(round * pairs + k);
      const PointPair p = pair_of(tr.draws.uniform(Purpose::pair, static_cast<std::size_t>(b), number), tr.states.size());
      out.from.push_back(static_cast<std::int64_t>(p.from) * rows + b);
      out.to.push_back(static_cast<std::int64_t>(p.to) * rows + b);
      out.trajectory.push_back(b);
      out.t.push_back(tr.times[p.from]);
      out.s.push_back(tr.times[p.to]);
    }
  return out;
}

// The labels of the rows. With fd_share_label_drop = false they are dropped once more, row by row, as in the released code.
Labels row_labels(const Trajectories& tr, const PairRows& rows, const CmtConfig& config, std::uint32_t round) {
  if (!tr.y.defined()) return {};
  const auto n = static_cast<std::int64_t>(rows.trajectory.size());
  Labels y = gather(tr.y, Tensor::from(rows.trajectory, {n}));
  if (config.compat.fd_share_label_drop) return y;
  std::vector<double> dropped;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto row = static_cast<std::size_t>(i);
    const auto number = narrow<std::uint32_t>(round * config.pairs + i % config.pairs);
    const double x = tr.draws.uniform(Purpose::label_redrop, static_cast<std::size_t>(rows.trajectory[row]), number);
    dropped.push_back(x < config.labels.probability);
  }
  return replaced_where(y, dropped, config.labels.null_label);
}

// Moves all points but the first and the last by x steps of the grid, x uniform in [-jitter/2, jitter/2). x depends only on the seed and the training
// step, so all parts of a batch have the same grid.
Grid jittered(const Grid& grid, double jitter, const Draws& draws) {
  if (jitter == 0) return grid;
  const double x = jitter * (draws.shared(Purpose::grid) - 0.5);
  Grid out = grid;
  for (std::size_t i = 1; i + 1 < grid.size(); ++i) out[i] += x > 0 ? x * (grid[i - 1] - grid[i]) : x * (grid[i] - grid[i + 1]);
  return out;
}

}  // namespace

Trajectories roll_out(const VelocityNet& teacher, const Shape& row_shape, const Labels& y, const Draws& draws, const CmtConfig& config,
                      DType dtype, std::int64_t beside) {
  Trajectories out;
  out.draws = draws;
  out.y = drop_labels(y, config.labels, draws);
  const double alpha = config.shift > 0 ? config.shift : shift_for_dimension(row_shape.numel());
  const Grid grid = jittered(teacher_grid(narrow<int>(config.points, "points"), alpha), config.jitter, draws);
  const Tensor noise = draws.normal(row_shape, dtype);
  const Tensor start = beside == 0 ? noise : with_second(noise, draws.normal({beside}, dtype, Purpose::beside));
  out.states = trajectory(teacher, start, out.y, grid, solver_named(config.solver));
  if (beside > 0)
    for (Tensor& state : out.states) state = first_of_both(state, noise.shape());
  out.times = told_times(grid, config.compat);
  return out;
}

CmtBatch draw_jumps(const Trajectories& tr, const CmtConfig& config, std::uint32_t round) {
  const PairRows rows = draw(tr, config, round);
  const auto n = static_cast<std::int64_t>(rows.t.size());
  const DType dtype = tr.states[0].dtype();
  const Tensor states = concat(tr.states, 0);
  const Tensor z = gather(states, Tensor::from(rows.from, {n})), z_end = gather(states, Tensor::from(rows.to, {n}));
  const Tensor t = Tensor::from(rows.t, {n}).to(dtype), s = Tensor::from(rows.s, {n}).to(dtype);
  return {z, (z - z_end) / column(t - s, z.rank()), s, t, row_labels(tr, rows, config, round)};
}

ObjectiveLoss cmt(const FlowMapNet& net, const CmtBatch& b, const CmtConfig& config) {
  const Var u = net(b.z, b.s, b.t, b.y);
  return report(measure(u - b.target, config.metric), b.s, b.t, b.z.dim(0));
}

ObjectiveLoss cmt(const FlowMapNet& net, const Trajectories& tr, const CmtConfig& config, std::uint32_t round) {
  return cmt(net, draw_jumps(tr, config, round), config);
}

Needs CmtConfig::needs() const {
  return {.data = false, .teacher = true, .velocity = false, .jumps = Jumps::off_diagonal, .rows = pairs, .teacher_calls = static_cast<double>(points - 1) * (solver == "heun" ? 2 : 1)};
}
Claims CmtConfig::claims() const { return {.exact = false, .unbiased = false, .why = "the targets are chords of a solver's trajectories, not of the flow's"}; }

// The batch has labels and sample numbers but no data. The result has trajectories x pairs rows.
Drawn CmtConfig::draw(const Batch& batch, const Nets& nets, const TrainingStep&) const {
  CmtBatch b = draw_jumps(roll_out(nets.teacher, nets.shape, batch.y, batch.draws, *this, nets.dtype, nets.beside), *this);
  Drawn out;
  out.p.z = std::move(b.z), out.p.s = std::move(b.s), out.p.t = std::move(b.t), out.p.y = std::move(b.y);
  out.p.off_diagonal = out.p.rows();
  out.numbers.emplace_back("target", std::move(b.target));
  return out;
}

ObjectiveLoss CmtConfig::loss(const Nets& nets, const Drawn& drawn) const {
  return cmt(nets.net, CmtBatch{drawn.p.z, drawn["target"], drawn.p.s, drawn.p.t, drawn.p.y}, *this);
}

std::string CmtConfig::not_recorded(const std::string&) const { return ""; }

}  // namespace fm
