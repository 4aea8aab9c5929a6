// Samples from noise: by a few jumps of a flow map, or by an ODE solver on a teacher's velocity.
//
// A grid is a falling list of times from 1; 50 points are 49 steps. The teacher's grid is shift(u_k) with u_k = 1 - linspace(0, 0.999, points). It does not
// end at 0 but at t = shift(0.001), 0.0069 for 256-pixel RAE latents, and the state at that time is the sample.
#pragma once

#include <string>
#include <vector>

#include "flowmap/network.h"

namespace fm {

using Grid = std::vector<double>;

Grid plain_grid(int steps);                                          // 1, (steps-1)/steps, ..., 0
Grid teacher_grid(int points, double alpha, double depth = 0.999);   // see above; alpha from shift_for_dimension

// f_{1->0} through the grid:  z <- z - (t_k - t_{k+1}) u(z, t_{k+1}, t_k).  noise (B, ...). MF-RAE samples with plain_grid(1) or plain_grid(2).
Tensor sample_flow_map(const FlowMapNet& net, const Tensor& noise, const Labels& y, const Grid& grid);

// The sampler of consistency models, whose u is trained for jumps to s = 0 alone. Each call jumps to data,  x^ = z - t u(z, 0, t),  and new noise e then
// moves it to the next time of the grid,  z_s = (1-s) x^ + s e.  The bits of a sample's own noise seed its e, so a sample is the same in any batch.
Tensor sample_renoised(const FlowMapNet& net, const Tensor& noise, const Labels& y, const Grid& grid);

enum class Solver { euler, heun };                                   // euler makes one call per step, heun two
std::vector<std::string> solver_names();
Solver solver_named(const std::string& name);                        // ConfigError for a name that is not in the list

// The states at all points of the grid, noise first.
std::vector<Tensor> trajectory(const VelocityNet& v, const Tensor& noise, const Labels& y, const Grid& grid, Solver solver = Solver::euler);
Tensor sample_ode(const VelocityNet& v, const Tensor& noise, const Labels& y, const Grid& grid, Solver solver = Solver::euler);

}  // namespace fm
