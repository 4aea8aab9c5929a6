// Parts that several objectives share: a jump of the flow map, its derivative in the end time, and a teacher's steps back along the flow.
#pragma once

#include <optional>

#include "flowmap/batch.h"
#include "flowmap/sampler.h"

namespace fm {

// f_{t->s}(z) = z - (t-s) u(z, s, t). z (B, ...) may be recorded: gradients pass to it, also through a network whose parameters are frozen.
Var jump(const FlowMapNet& net, const Var& z, const Tensor& s, const Tensor& t, const Labels& y);
// The end of the jump, without history.
Tensor jumped(const FlowMapNet& net, const Tensor& z, const Tensor& s, const Tensor& t, const Labels& y);

// u and its derivative in the end time s. The end of the jump has the derivative d_s f = u - (t-s) du/ds.
struct EndDerivative {
  Var u;                                 // (B, ...), for all rows
  Var duds;                              // (k, ...), for the first k rows (p.off_diagonal); recorded if `taped`; undefined if k is 0
};
EndDerivative end_derivative(const FlowMapNet& net, const PathBatch& p, bool taped);
// The same for a jump from any z. If z is recorded, gradients pass to it through u, and through duds if `taped`. duds covers the first `k` rows.
EndDerivative end_derivative(const FlowMapNet& net, const Var& z, const Tensor& s, const Tensor& t, const Labels& y, std::int64_t k, bool taped);

// (du/dz) v + du/dt of the first rows (s < t), recorded, so that gradients pass through it too. v (k, ...) is the direction in z; without v, du/dt alone.
struct TapedDerivative {
  Var u;                                 // (B, ...)
  Var dudt;                              // (k, ...)
};
TapedDerivative taped_derivative(const FlowMapNet& net, const PathBatch& p, const std::optional<Tensor>& v);

// Follows v's ODE from z at time t back to time m <= t, in `steps` equal steps per row. z (B, ...), times (B). Without history.
Tensor step_back(const VelocityNet& v, const Tensor& z, const Tensor& t, const Tensor& m, Solver solver, int steps, const Labels& y);

}  // namespace fm
