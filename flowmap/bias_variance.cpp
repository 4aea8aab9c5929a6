#include "flowmap/bias_variance.h"

#include <cmath>

#include "autodiff/jvp.h"
#include "flowmap/path.h"
#include "tensor/error.h"

namespace fm {
namespace {

// (dh/dz) d + along_t dh/dt, without history.
Tensor derivative(const FlowMapNet& h, const PathBatch& p, const Tensor& d, double along_t) {
  const PauseTape pause;
  const auto f = [&](const Var& z, const Var& s, const Var& t) { return h(z, s, t, p.y); };
  const Tensor dt = Tensor::full({p.rows()}, along_t, p.t.dtype());
  return jvp(f, at(p.z, p.s, p.t), along(d, zero, dt)).second;
}

double mean_square(const Tensor& x) { return mean(square(x)).item(); }

}  // namespace

BiasVariance bias_variance(const FlowMapNet& h, const PathBatch& p, const VelocityNet& v, const VelocityNet& teacher, const FlowMapNet& map) {
  if (p.off_diagonal != p.rows()) throw ConfigError("bias_variance: the batch has rows with s = t; every row must have s < t");
  const Tensor gap = column(p.t - p.s, p.z.rank());
  const Tensor truth = evaluate(v, p.z, p.t, p.y);
  const auto through = [&](const Tensor& d) { return d - gap * derivative(h, p, d, 0); };          // A d
  BiasVariance out;
  out.noise = mean_square(through(conditional_velocity(p.z0, p.eps) - truth));
  out.teacher = mean_square(through(evaluate(teacher, p.z, p.t, p.y) - truth));
  out.own = map ? mean_square(truth - gap * derivative(h, p, truth, 1) - evaluate(map, p.z, p.s, p.t, p.y)) : NAN;
  return out;
}

}  // namespace fm
