#include "flowmap/velocity.h"

#include "tensor/error.h"

namespace fm {

VelocitySource one_point() {
  return [](const PathBatch& p) { return conditional_velocity(p.z0, p.eps); };
}

VelocitySource teacher(VelocityNet v) {
  return [v = std::move(v)](const PathBatch& p) { return evaluate(v, p.z, p.t, p.y); };
}

VelocitySource blend(double lambda, VelocitySource source) {
  if (lambda < 0 || lambda > 1) throw ConfigError("velocity blend: lambda is " + std::to_string(lambda) + ", not in [0, 1]");
  if (lambda == 0) return one_point();
  if (lambda == 1) return source;
  return [lambda, source = std::move(source)](const PathBatch& p) {
    return (1 - lambda) * conditional_velocity(p.z0, p.eps) + lambda * source(p);
  };
}

namespace {

// 1 where t is in the interval, as a column; undefined where no row is.
Tensor inside(const Tensor& t, Interval interval, int rank) {
  std::vector<double> mask;
  bool any = false;
  for (double x : t.to_vector<double>()) {
    mask.push_back(x >= interval.low && x <= interval.high);
    any = any || mask.back() != 0;
  }
  return any ? column(Tensor::from(mask, t.shape()).to(t.dtype()), rank) : Tensor();
}

// base + scale (v - base) inside the interval, v elsewhere; base() is not called where no row needs it.
template <class Base> Var extrapolate(const Var& v, const Tensor& t, double scale, Interval interval, Base&& base) {
  const Tensor mask = scale == 1 ? Tensor() : inside(t, interval, v.rank());
  if (!mask.defined()) return v;
  const Var b = base();
  return where(mask, b + scale * (v - b), v);
}

}  // namespace

VelocityNet cfg(VelocityNet v, double scale, std::int64_t null_label, Interval interval) {
  return [=, v = std::move(v)](const Var& z, const Var& t, const Labels& y) {
    if (scale != 1 && !y.defined()) throw ConfigError("classifier-free guidance needs labels");
    return extrapolate(v(z, t, y), t.value(), scale, interval, [&] { return v(z, t, null_labels(y, null_label)); });
  };
}

VelocityNet autoguidance(VelocityNet v, VelocityNet weak, double scale, Interval interval) {
  return [=, v = std::move(v), weak = std::move(weak)](const Var& z, const Var& t, const Labels& y) {
    return extrapolate(v(z, t, y), t.value(), scale, interval, [&] { return weak(z, t, y); });
  };
}

VelocitySource mean_flow_guidance(VelocityNet self, double omega, double kappa, std::int64_t null_label, Interval interval) {
  return [=, self = std::move(self)](const PathBatch& p) {
    if (!p.y.defined()) throw ConfigError("MeanFlow guidance needs labels");
    const Tensor plain = conditional_velocity(p.z0, p.eps);
    const std::vector<bool> dropped = is_null(p.y, null_label);
    std::vector<double> t = p.t.to_vector<double>();
    bool any = false;
    for (std::size_t i = 0; i < t.size(); ++i) {
      t[i] = !dropped[i] && t[i] >= interval.low && t[i] <= interval.high;
      any = any || t[i] != 0;
    }
    if (!any) return plain;
    Tensor guided = omega * plain;
    if (1 - omega - kappa != 0) guided = guided + (1 - omega - kappa) * evaluate(self, p.z, p.t, null_labels(p.y, null_label));
    if (kappa != 0) guided = guided + kappa * evaluate(self, p.z, p.t, p.y);
    return where(column(Tensor::from(t, p.t.shape()).to(p.t.dtype()), p.z.rank()), guided, plain);
  };
}

}  // namespace fm
