// Parts that several objectives share: a jump of the flow map, its derivative where it ends, and a teacher's steps back along the flow.
#pragma once

#include <optional>

#include "flowmap/batch.h"
#include "flowmap/sampler.h"

namespace fm {

// f_{t->s}(z) = z - (t-s) u(z, s, t). z (B, ...) may be recorded: gradients pass to it, also through a network whose parameters are frozen.
Var jump(const FlowMapNet& net, const Var& z, const Tensor& s, const Tensor& t, const Labels& y);
// The end of the jump, without derivative.
Tensor jumped(const FlowMapNet& net, const Tensor& z, const Tensor& s, const Tensor& t, const Labels& y);

// d_s f = u - (t-s) du/ds follows from them.
struct EndDerivative {
  Var u;                                 // (B, ...): of all rows
  Var duds;                              // (k, ...): of the first k rows (p.off_diagonal); recorded if `taped`; undefined if k is 0
};
EndDerivative end_derivative(const FlowMapNet& net, const PathBatch& p, bool taped);
// A jump from any z. If z is recorded, gradients pass to it through u, and through duds if `taped`. duds covers the first `k` rows.
EndDerivative end_derivative(const FlowMapNet& net, const Var& z, const Tensor& s, const Tensor& t, const Labels& y, std::int64_t k, bool taped);

// (du/dz) v + du/dt of the first rows (s < t), recorded, so gradients pass through it too. v (k, ...): the direction of z; undefined: du/dt alone.
struct TapedDerivative {
  Var u;                                 // (B, ...)
  Var dudt;                              // (k, ...)
};
TapedDerivative taped_derivative(const FlowMapNet& net, const PathBatch& p, const std::optional<Tensor>& v);

// The state at m <= t of v's ODE from z at t, in `steps` equal steps a row. z (B, ...), times (B). Without history.
Tensor step_back(const VelocityNet& v, const Tensor& z, const Tensor& t, const Tensor& m, Solver solver, int steps, const Labels& y);

}  // namespace fm
