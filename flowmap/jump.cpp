#include "flowmap/jump.h"

#include "autodiff/jvp.h"
#include "flowmap/path.h"

namespace fm {

Var jump(const FlowMapNet& net, const Var& z, const Tensor& s, const Tensor& t, const Labels& y) {
  return z - column(t - s, z.rank()) * net(z, s, t, y);
}

Tensor jumped(const FlowMapNet& net, const Tensor& z, const Tensor& s, const Tensor& t, const Labels& y) {
  return moved(z, t - s, evaluate(net, z, s, t, y));
}

EndDerivative end_derivative(const FlowMapNet& net, const PathBatch& p, bool taped) {
  return end_derivative(net, p.z, p.s, p.t, p.y, p.off_diagonal, taped);
}

EndDerivative end_derivative(const FlowMapNet& net, const Var& z, const Tensor& s, const Tensor& t, const Labels& y, std::int64_t k, bool taped) {
  const auto f = [&](const Var& x, const Var& end, const Var& from) { return net(x, end, from, y); };
  if (k == 0) return {net(z, s, t, y), {}};
  const auto points = at(z, s, t);
  const auto direction = along(zero, Tensor::ones({k}, s.dtype()), zero);
  const auto cut = [&](const Var& d) { return d.dim(0) == k ? d : slice(d, 0, 0, k); };       // a net without s gives zeros of all rows
  if (taped) {
    const auto [u, duds] = jvp_taped(f, points, direction);
    return {u, cut(duds)};
  }
  const auto [u, duds] = jvp(f, points, direction);
  return {u, cut(duds)};
}

Tensor step_back(const VelocityNet& v, const Tensor& z, const Tensor& t, const Tensor& m, Solver solver, int steps, const Labels& y) {
  const Tensor step = (t - m) / static_cast<double>(steps);
  Tensor x = z;
  for (int k = 0; k < steps; ++k) {
    const Tensor now = t - static_cast<double>(k) * step;
    const Tensor slope = evaluate(v, x, now, y), euler = moved(x, step, slope);
    x = solver == Solver::euler ? euler : moved(x, 0.5 * step, slope + evaluate(v, euler, now - step, y));
  }
  return x;
}

}  // namespace fm
