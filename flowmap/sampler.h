// Samples from noise: by few flow-map steps, or by an ODE solver on a teacher's velocity.
//
// A grid is a falling list of times from 1. The teacher's grid has `points` points u_k = 1 - linspace(0, 0.999, points), shifted; so 50
// points are 49 network calls, and it ends at t = shift(0.001) (0.0069 for 256-pixel RAE latents), not at 0: that state is the sample.
#pragma once

#include <vector>

#include "flowmap/network.h"

namespace fm {

using Grid = std::vector<double>;

Grid plain_grid(int steps);                                          // 1, (steps-1)/steps, ..., 0
Grid teacher_grid(int points, double alpha, double depth = 0.999);   // see above; alpha from shift_for_dimension

// f_{1->0} through the grid:  z <- z - (t_k - t_{k+1}) u(z, t_{k+1}, t_k).  noise (B, ...). The reference sampler takes plain_grid(1 or 2).
Tensor sample_flow_map(const FlowMapNet& net, const Tensor& noise, const Labels& y, const Grid& grid);

// The sampler of consistency models, whose u is trained for jumps to s = 0 alone: each call goes to data, and between calls noise takes it back to the
// next time of the grid,  x^ = z - t u(z, 0, t),  z_s = (1-s) x^ + s e.  e is drawn by the bits of the sample's own noise: the same in any batch.
Tensor sample_renoised(const FlowMapNet& net, const Tensor& noise, const Labels& y, const Grid& grid);

enum class Solver { euler, heun };                                   // one and two calls a step
Solver solver_named(const std::string& name);                        // ConfigError

// The states at all points of the grid, noise first.
std::vector<Tensor> trajectory(const VelocityNet& v, const Tensor& noise, const Labels& y, const Grid& grid, Solver solver = Solver::euler);
Tensor sample_ode(const VelocityNet& v, const Tensor& noise, const Labels& y, const Grid& grid, Solver solver = Solver::euler);

}  // namespace fm
