#include "flowmap/velocity.h"

#include <fmt/format.h>

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

VelocitySource joint_teacher(VelocityNet rows) {
  return [rows = std::move(rows)](const PathBatch& p) {
    if (!p.beside.defined()) throw Error("the teacher moves a second variable together with the samples, and this batch has none");
    return first_of_both(evaluate(rows, with_second(p.z, interpolate(p.beside, p.beside_noise, p.t)), p.t, p.y), p.z.shape());
  };
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
  throw ConfigError("there is no velocity '" + name + "': known are teacher, one-point and blend=L with L in [0, 1]");
}

VelocitySource velocity_source(const std::string& name, const VelocityNet& v, bool joint) {
  const double lambda = teacher_share(name);
  if (lambda == 0) return one_point();
  VelocitySource source = joint ? joint_teacher(v) : teacher(v);
  return lambda == 1 ? source : blend(lambda, std::move(source));
}

namespace {

// 1 where t is in the interval: (B) in f64. The bounds are rounded to the type of t: in f64 the end 0.8 of an interval would exclude the f32 time 0.8, which is
// larger.
Tensor in_interval(const Tensor& t, Interval interval) {
  const Tensor low = Tensor::scalar(interval.low, t.dtype()), high = Tensor::scalar(interval.high, t.dtype());
  return (1.0 - less(t, low).to(DType::f64)) * (1.0 - greater(t, high).to(DType::f64));
}

// Returns in_interval() as a column, or an undefined tensor if no row is inside. On a GPU the result is always defined, because the check would wait for
// the device.
Tensor inside(const Tensor& t, Interval interval, int rank) {
  const Tensor mask = in_interval(t, interval);
  if (!t.device().is_cuda() && sum(mask).item() == 0) return {};
  return column(mask.to(t.dtype()), rank);
}

// base + scale (v - base) inside the interval, v elsewhere.
Var extrapolate(const Tensor& mask, double scale, const Var& v, const Var& base) { return where(mask, base + scale * (v - base), v); }

// A mask of the rows in which guidance has an effect. It is undefined if there are none, and guidance then makes no further call.
Tensor guided_rows(const Var& z, const Var& t, double scale, Interval interval) {
  return scale == 1 ? Tensor() : inside(t.value(), interval, z.rank());
}

}  // namespace

void check_guidance(const SelfGuidance& guidance, const LabelDropout& labels, const std::string& keys) {
  const auto [low, high] = guidance.interval;
  if (low > high)
    throw ConfigError(fmt::format("{0}.low = {1} is above {0}.high = {2}: no time would be guided. Lower the first or raise the second", keys, low, high));
  if (guidance.of_null() != 0 && labels.probability == 0)
    throw ConfigError(fmt::format("{0}.omega gives the network's velocity without a label the share {1:.3g} of the targets, and with {0}.labels.probability = 0 the network "
                                  "never learns it: raise the probability (0.1)", keys, guidance.of_null()));
}

OwnVelocities own_velocities(const VelocityNet& v, const PathBatch& p, const SelfGuidance& guidance) {
  if (!p.y.defined()) throw ConfigError("guidance inside a target needs labels, and this batch has none");
  const Labels none = null_labels(p.y, guidance.null_label);
  if (guidance.kappa == 0) return {{}, guidance.of_null() == 0 ? Tensor() : evaluate(v, p.z, p.t, none)};
  if (guidance.of_null() == 0) return {evaluate(v, p.z, p.t, p.y), {}};
  const auto twice = [](const Tensor& a, const Tensor& b) { return concat(std::vector<Tensor>{a, b}, 0); };
  const Tensor both = evaluate(v, twice(p.z, p.z), twice(p.t, p.t), twice(p.y, none));
  return {first_rows(both, p.rows()), rows_from(both, p.rows())};
}

Tensor guided(const PathBatch& p, const Tensor& given, const OwnVelocities& own, const SelfGuidance& guidance) {
  Tensor w = guidance.omega * given;
  if (own.labelled.defined()) w = w + guidance.kappa * own.labelled;
  if (own.unlabelled.defined()) w = w + guidance.of_null() * own.unlabelled;
  const Tensor dropped = equal(p.y.to(DType::f64), Tensor::scalar(static_cast<double>(guidance.null_label), DType::f64));
  return where(column((in_interval(p.t, guidance.interval) * (1.0 - dropped)).to(given.dtype()), given.rank()), w, given);
}

VelocitySource self_guided(VelocityNet v, VelocitySource given, const SelfGuidance& guidance) {
  if (!guidance.acts()) return given;
  return [v = std::move(v), given = std::move(given), guidance](const PathBatch& p) { return guided(p, given(p), own_velocities(v, p, guidance), guidance); };
}

VelocityNet cfg(VelocityNet v, double scale, std::int64_t null_label, Interval interval) {
  return [=, v = std::move(v)](const Var& z, const Var& t, const Labels& y) {
    if (scale != 1 && !y.defined()) throw ConfigError("classifier-free guidance needs labels, and this batch has none");
    const Tensor mask = guided_rows(z, t, scale, interval);
    if (!mask.defined()) return v(z, t, y);
    // One call serves the rows with and without labels: for small batches its time depends on the number of operations, not on the number of rows.
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
