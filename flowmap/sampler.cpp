#include "flowmap/sampler.h"

#include <algorithm>
#include <bit>

#include "flowmap/draws.h"
#include "flowmap/path.h"
#include "flowmap/time.h"
#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

Tensor at_time(double t, const Tensor& z) { return Tensor::full({z.dim(0)}, t, z.dtype()); }

void check(const Grid& grid) {
  bool falling = grid.size() >= 2;
  for (std::size_t i = 1; i < grid.size(); ++i) falling = falling && grid[i] < grid[i - 1];
  if (!falling) throw ConfigError("sampler: a grid must have two or more times, each below the one before");
}

// One step from time t to t1 < t.
Tensor step(const VelocityNet& v, const Tensor& z, const Labels& y, double t, double t1, Solver solver) {
  const double h = t1 - t;
  const Tensor slope = evaluate(v, z, at_time(t, z), y);
  const Tensor euler = z + h * slope;
  if (solver == Solver::euler) return euler;
  return z + (h / 2) * (slope + evaluate(v, euler, at_time(t1, z), y));
}

// A number for each row, made of the bits of its first two values in f32. Two different rows of normal numbers are unlikely to share a number.
Samples names_of_rows(const Tensor& noise) {
  const std::int64_t rows = noise.dim(0);
  const Tensor flat = noise.reshape({rows, noise.numel() / rows});
  const std::vector<float> first = flat.slice(1, 0, std::min<std::int64_t>(2, flat.dim(1))).to(DType::f32).to(Device{}).to_vector<float>();
  const std::size_t each = first.size() / static_cast<std::size_t>(rows);
  Samples out;
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i) {
    std::uint64_t bits = 0;
    for (std::size_t j = 0; j < each; ++j) bits = bits << 31 ^ std::bit_cast<std::uint32_t>(first[i * each + j]);
    out.push_back(static_cast<std::int64_t>(bits & 0x7FFFFFFFFFFFFFFFu));
  }
  return out;
}

}  // namespace

Solver solver_named(const std::string& name) {
  if (name == "euler") return Solver::euler;
  if (name == "heun") return Solver::heun;
  throw ConfigError("there is no solver '" + name + "': known are euler and heun");
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
  if (grid.back() != 0) throw ConfigError("sampler: a consistency model's grid must end at 0");
  const Samples names = names_of_rows(noise);
  Tensor z = noise, x;
  for (std::size_t k = 0; k + 1 < grid.size(); ++k) {
    x = z - grid[k] * evaluate(net, z, at_time(0, z), at_time(grid[k], z), y);
    const double s = grid[k + 1];
    if (s == 0) break;
    const Tensor fresh = Draws{0, narrow<std::uint32_t>(k), names}.normal(z.shape().without(0), z.dtype(), Purpose::renoise);
    z = (1 - s) * x + s * fresh.to(z.device());
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
