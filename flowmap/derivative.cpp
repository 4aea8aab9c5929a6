#include "flowmap/derivative.h"

#include "autodiff/jvp.h"
#include "flowmap/path.h"
#include "tensor/error.h"

namespace fm {
namespace {

// u at time t1 on the straight line through (z, t) with velocity w
Tensor on_line(const FlowMapNet& net, const FlowPoint& p, const Tensor& w, const Tensor& t1, const Labels& y) {
  return evaluate(net, p.z + column(t1 - p.t, p.z.rank()) * w, p.s, t1, y.defined() ? y : p.y);
}

// Divides by the difference of the stored times, so that the rounding of the times cancels.
Tensor quotient(const Tensor& high, const Tensor& low, const Tensor& dt) { return (high - low) / column(dt, high.rank()); }

struct Stencil {
  Tensor low, high;                      // times (k)
};

Stencil central_times(const FlowPoint& p, const DerivativeConfig& config) {
  Stencil s{p.t - config.delta, p.t + config.delta};
  // A cut stencil is not symmetric, so its error is of first order. Within delta of s the target multiplies this error by t - s < delta.
  if (config.clamp_times) s = {maximum(s.low, p.s), minimum(s.high, Tensor::scalar(1, p.t.dtype()))};
  return s;
}

Tensor central(const FlowMapNet& net, const FlowPoint& p, const Tensor& w, const DerivativeConfig& config) {
  const auto [low, high] = central_times(p, config);
  return quotient(on_line(net, p, w, high, p.y_plus), on_line(net, p, w, low, p.y_minus), high - low);
}

// With clamp_times a forward step beyond 1 becomes a backward step, and a backward step below s becomes a forward step.
Tensor one_sided(const FlowMapNet& net, const FlowPoint& p, const Tensor& w, const Tensor& u, const DerivativeConfig& config) {
  const bool ahead = config.kind == "forward";
  const Tensor on = p.t + config.delta, back = p.t - config.delta;
  Tensor other = ahead ? on : back;
  if (config.clamp_times)
    other = ahead ? where(greater(on, Tensor::scalar(1, on.dtype())), back, on) : where(less(back, p.s), on, back);
  return quotient(on_line(net, p, w, other, ahead ? p.y_plus : p.y_minus), u, other - p.t);
}

Derivative exact(const FlowMapNet& net, const FlowPoint& p, const Tensor& w) {
  const auto f = [&](const Var& z, const Var& t, const Var& s) { return net(z, s, t, p.y); };
  const Tensor one = Tensor::ones({w.dim(0)}, p.t.dtype());
  const auto [u, dudt] = jvp(f, at(p.z, p.t, p.s), along(w, one, zero));
  return {u, fm::first_rows(dudt, w.dim(0))};        // if u depends on neither z nor t, dudt covers all rows with zeros
}

Derivative semi(const FlowMapNet& net, const FlowPoint& p, const Tensor& w, const DerivativeConfig& config) {
  const auto f = [&](const Var& z) { return net(z, p.s, p.t, p.y); };
  const auto [u, spatial] = jvp(f, at(p.z), along(w));
  return {u, fm::first_rows(spatial, w.dim(0)) + central(net, first_rows(p, w.dim(0)), Tensor::zeros(w.shape(), w.dtype()), config)};
}

}  // namespace

FlowPoint first_rows(const FlowPoint& p, std::int64_t k) {
  return {fm::first_rows(p.z, k), fm::first_rows(p.s, k), fm::first_rows(p.t, k), fm::first_rows(p.y, k), fm::first_rows(p.y_plus, k),
          fm::first_rows(p.y_minus, k)};
}

Derivative differentiate(const FlowMapNet& net, const FlowPoint& p, const Tensor& w, const DerivativeConfig& config) {
  if (!w.defined() || w.dim(0) == 0) return {net(p.z, p.s, p.t, p.y), {}};
  const std::int64_t k = w.dim(0);
  if (k > p.z.dim(0) || w.shape().with(0, p.z.dim(0)) != p.z.shape())
    throw ShapeError("derivative: the direction must have z's shape with at most z's number of rows, but the direction has " + to_string(w.shape()) +
                     " and z has " + to_string(p.z.shape()));
  if (config.kind == "jvp") return exact(net, p, w);
  if (config.kind == "semi") return semi(net, p, w, config);
  const FlowPoint head = first_rows(p, k);
  if (config.kind == "central" || config.kind == "fd") {
    const Tensor dudt = central(net, head, w, config);
    return {net(p.z, p.s, p.t, p.y), dudt};
  }
  if (config.kind != "forward" && config.kind != "backward")
    throw ConfigError("there is no derivative kind '" + config.kind + "': known are jvp, fd (central), forward, backward and semi");
  const Var u = net(p.z, p.s, p.t, p.y);
  return {u, one_sided(net, head, w, first_rows(u.value(), k), config)};
}

}  // namespace fm
