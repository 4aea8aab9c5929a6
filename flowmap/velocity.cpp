#include "flowmap/velocity.h"

#include "autodiff/rules/linear.h"
#include "nn/config/visit.h"
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

double teacher_share(const std::string& name) {
  if (name == "teacher") return 1;
  if (name == "one-point" || name.empty()) return 0;
  double lambda = -1;
  if (name.starts_with("blend=") && parse_number(std::string_view(name).substr(6), lambda) && lambda >= 0 && lambda <= 1) return lambda;
  throw ConfigError("velocity '" + name + "': want teacher, one-point or blend=L with L in [0, 1]");
}

VelocitySource velocity_source(const std::string& name, const VelocityNet& v) {
  const double lambda = teacher_share(name);
  if (lambda == 0) return one_point();
  return lambda == 1 ? teacher(v) : blend(lambda, teacher(v));
}

namespace {

// 1 where t is in the interval, as a column; undefined where no row is. A GPU is not asked about that, for the answer would be a wait.
Tensor inside(const Tensor& t, Interval interval, int rank) {
  const Tensor at = t.to(DType::f64), low = Tensor::scalar(interval.low, DType::f64), high = Tensor::scalar(interval.high, DType::f64);
  const Tensor mask = (1.0 - less(at, low)) * (1.0 - greater(at, high));
  if (!t.device().is_cuda() && sum(mask).item() == 0) return {};
  return column(mask.to(t.dtype()), rank);
}

// base + scale (v - base) inside the interval, v elsewhere.
Var extrapolate(const Tensor& mask, double scale, const Var& v, const Var& base) { return where(mask, base + scale * (v - base), v); }

// The rows in which guidance changes something; undefined where there is none, and the second network call is left out.
Tensor guided_rows(const Var& z, const Var& t, double scale, Interval interval) {
  return scale == 1 ? Tensor() : inside(t.value(), interval, z.rank());
}

}  // namespace

VelocityNet cfg(VelocityNet v, double scale, std::int64_t null_label, Interval interval) {
  return [=, v = std::move(v)](const Var& z, const Var& t, const Labels& y) {
    if (scale != 1 && !y.defined()) throw ConfigError("classifier-free guidance needs labels");
    const Tensor mask = guided_rows(z, t, scale, interval);
    if (!mask.defined()) return v(z, t, y);
    // With the label and without it in one call: on small batches a call costs its operations, not its rows.
    const std::int64_t rows = z.dim(0);
    const Var both = v(concat(std::vector{z, z}, 0), concat(std::vector{t, t}, 0), concat(std::vector<Tensor>{y, null_labels(y, null_label)}, 0));
    return extrapolate(mask, scale, slice(both, 0, 0, rows), slice(both, 0, rows, 2 * rows));
  };
}

VelocityNet autoguidance(VelocityNet v, VelocityNet weak, double scale, Interval interval) {
  return [=, v = std::move(v), weak = std::move(weak)](const Var& z, const Var& t, const Labels& y) {
    const Tensor mask = guided_rows(z, t, scale, interval);
    return mask.defined() ? extrapolate(mask, scale, v(z, t, y), weak(z, t, y)) : v(z, t, y);
  };
}

}  // namespace fm
