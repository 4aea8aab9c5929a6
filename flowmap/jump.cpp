#include "flowmap/jump.h"

#include "autodiff/jvp.h"
#include "flowmap/path.h"

namespace fm {
namespace {

// Returns the first k rows of a tangent. A tangent has k rows, or all rows (of zeros) if the network does not depend on the varied input.
Var first_rows_of(const Var& tangent, std::int64_t k) { return tangent.dim(0) == k ? tangent : slice(tangent, 0, 0, k); }

}  // namespace

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
  if (taped) {
    const auto [u, duds] = jvp_taped(f, points, direction);
    return {u, first_rows_of(duds, k)};
  }
  const auto [u, duds] = jvp(f, points, direction);
  return {u, first_rows_of(duds, k)};
}

TapedDerivative taped_derivative(const FlowMapNet& net, const PathBatch& p, const std::optional<Tensor>& v) {
  const std::int64_t k = v ? v->dim(0) : p.off_diagonal;
  const Tensor one = Tensor::ones({k}, p.t.dtype());
  const auto f = [&](const Var& z, const Var& s, const Var& t) { return net(z, s, t, p.y); };
  const auto [u, dudt] = v ? jvp_taped(f, at(p.z, p.s, p.t), along(*v, zero, one)) : jvp_taped(f, at(p.z, p.s, p.t), along(zero, zero, one));
  return {u, first_rows_of(dudt, k)};
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
