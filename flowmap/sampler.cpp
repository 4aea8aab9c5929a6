#include "flowmap/sampler.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>

#include "flowmap/path.h"
#include "flowmap/row_noise.h"
#include "flowmap/time.h"
#include "tensor/error.h"

namespace fm {
namespace {

Tensor at_time(double t, const Tensor& z) { return Tensor::full({z.dim(0)}, t, z.dtype()); }

void check(const Grid& grid) {
  if (grid.size() < 2) throw ConfigError(fmt::format("sampler: a grid of {} times: give two or more", grid.size()));
  const auto rise = std::adjacent_find(grid.begin(), grid.end(), [](double t, double next) { return !(next < t); });
  if (rise != grid.end()) throw ConfigError(fmt::format("sampler: time {} of the grid follows {}: give falling times", *(rise + 1), *rise));
}

// One step from time t to t1 < t.
Tensor step(const VelocityNet& v, const Tensor& z, const Labels& y, double t, double t1, Solver solver) {
  const double h = t1 - t;
  const Tensor slope = evaluate(v, z, at_time(t, z), y);
  const Tensor euler = z + h * slope;
  if (solver == Solver::euler) return euler;
  return z + (h / 2) * (slope + evaluate(v, euler, at_time(t1, z), y));
}

}  // namespace

std::vector<std::string> solver_names() { return {"euler", "heun"}; }

Solver solver_named(const std::string& name) {
  if (name == "euler") return Solver::euler;
  if (name == "heun") return Solver::heun;
  throw ConfigError(fmt::format("there is no solver '{}': known are {}", name, fmt::join(solver_names(), ", ")));
}

Grid plain_grid(int steps) {
  if (steps < 1) throw ConfigError("sampler: " + std::to_string(steps) + " steps; at least 1 is needed");
  Grid grid;
  for (int k = 0; k <= steps; ++k) grid.push_back(double(steps - k) / steps);
  return grid;
}

Grid teacher_grid(int points, double alpha, double depth) {
  if (points < 2) throw ConfigError("sampler: a grid of " + std::to_string(points) + " points; at least 2 are needed");
  Grid grid;
  for (int k = 0; k < points; ++k) grid.push_back(shift_time(1 - depth * k / (points - 1), alpha));
  return grid;
}

Tensor sample_flow_map(const FlowMapNet& net, const Tensor& noise, const Labels& y, const Grid& grid) {
  check(grid);
  Tensor z = noise;
  for (std::size_t k = 0; k + 1 < grid.size(); ++k)
    z = z - (grid[k] - grid[k + 1]) * evaluate(net, z, at_time(grid[k + 1], z), at_time(grid[k], z), y);
  return z;
}

Tensor sample_renoised(const FlowMapNet& net, const Tensor& noise, const Labels& y, const Grid& grid) {
  check(grid);
  if (grid.back() != 0) throw ConfigError(fmt::format("sampler: a consistency model's grid must end at 0, not at {}: add 0 to its times", grid.back()));
  const RowNoise fresh(noise);
  Tensor z = noise, x;
  for (std::size_t k = 0; k + 1 < grid.size(); ++k) {
    x = z - grid[k] * evaluate(net, z, at_time(0, z), at_time(grid[k], z), y);
    const double s = grid[k + 1];
    if (s == 0) break;
    z = (1 - s) * x + s * fresh.at(static_cast<std::int64_t>(k));
  }
  return x;
}

std::vector<Tensor> trajectory(const VelocityNet& v, const Tensor& noise, const Labels& y, const Grid& grid, Solver solver) {
  check(grid);
  std::vector<Tensor> states{noise};
  for (std::size_t k = 0; k + 1 < grid.size(); ++k) states.push_back(step(v, states.back(), y, grid[k], grid[k + 1], solver));
  return states;
}

Tensor sample_ode(const VelocityNet& v, const Tensor& noise, const Labels& y, const Grid& grid, Solver solver) {
  check(grid);
  Tensor z = noise;
  for (std::size_t k = 0; k + 1 < grid.size(); ++k) z = step(v, z, y, grid[k], grid[k + 1], solver);
  return z;
}

}  // namespace fm
