// Checks without quadrature whether an objective's minimum is the mean of its targets. Each point has three rows, with velocities v - 2 d, v + d and v + d.
// Their mean is the flow's velocity v, their median is not. At the true map the three gradients cancel only if the gradient is linear in w.
#pragma once

#include <functional>

#include "autodiff/tape.h"
#include "flowmap/objective/objective.h"
#include "tests/flowmap/support.h"

namespace fm::test {

// Three rows for each row of p, with its z, s and t.
inline PathBatch skewed(const GaussianFlow& flow, const PathBatch& p) {
  const Tensor v = evaluate(flow.v(), p.z, p.t, p.y), d = 0.5 * cos(3.0 * p.z);
  const auto thrice = [](const Tensor& a, const Tensor& b, const Tensor& c) { return concat(std::vector<Tensor>{a, b, c}, 0); };
  const Tensor w = thrice(v - 2.0 * d, v + d, v + d);
  PathBatch out;
  out.z = thrice(p.z, p.z, p.z), out.s = thrice(p.s, p.s, p.s), out.t = thrice(p.t, p.t, p.t);
  out.z0 = moved(out.z, out.t, w), out.eps = out.z0 + w;                   // z = (1-t) z0 + t eps and w = eps - z0
  out.off_diagonal = out.z.dim(0);
  return out;
}

// d loss / d theta at theta = 0, for the map u + theta phi with the flow's u.
inline double gradient_at(const GaussianFlow& flow, const std::function<Var(const FlowMapNet&)>& loss) {
  const Parameter theta{Tensor::zeros({1}, DType::f64)};
  const FlowMapNet net = [&](const Var& z, const Var& s, const Var& t, const Labels& y) {
    const Var gap = column(t - s, z.rank()), phi = sin(1.3 * z + 0.4) + 0.3 * square(z) + 0.2 * (gap * z) + 0.1 * column(t, z.rank());
    return flow.u()(z, s, t, y) + reshape(Var(theta), {1, 1}) * phi;
  };
  Tape tape;
  return backward(loss(net))[theta].item();
}

}  // namespace fm::test
