#include "flowmap/objective/scaled_cm.h"

#include <fmt/format.h>

namespace fm {
namespace {

// m(t): the deviation of z_t for data of deviation c
Tensor deviation_at(const Tensor& t, double c) { return sqrt(c * c * square(1.0 - t) + square(t)); }

// The weights of the rows' mean squares in the loss.
Tensor weights(const Tensor& t, std::int64_t elements, const ScaledCmConfig& config) {
  const Tensor of_time = config.sigma_weight ? (1.0 - t) / t : Tensor::ones(t.shape(), t.dtype());
  return config.normalise > 0 && config.norm == "rms" ? of_time / static_cast<double>(elements) : of_time;
}

Needs needs_of(const ScaledCmConfig& config) {
  return {.row_weight = config.row_weight, .jumps = Jumps::to_data, .passes = config.derivative.evaluations()};
}

}  // namespace

Tensor scaled_cm_tangent(const Tensor& t, const Tensor& r, const Tensor& w, const Tensor& u, const Tensor& dudt, const ScaledCmConfig& config) {
  const double c = config.data_deviation;
  const Tensor back = 1.0 - t, m = deviation_at(t, c);
  const Tensor first = config.rcm_warmup ? c * back * sqrt(1.0 - square(r * t / m)) : c * c * square(back) / m;
  const Tensor second = r * back * t;
  const Tensor of_velocity = first + second * (t - c * c * back) / m;
  return column(of_velocity, u.rank()) * (w - u) - column(second * m, u.rank()) * dudt;
}

ObjectiveLoss scaled_cm(const FlowMapNet& net, const Drawn& drawn, const VelocitySource& velocity, const ScaledCmConfig& config,
                        const LogVariance& log_variance) {
  const PathBatch& p = drawn.p;
  const Tensor w = velocity(p);
  const auto [u, dudt] = differentiate(net, {p.z, p.s, p.t, p.y, {}, {}}, w, config.derivative);
  const Tensor g = scaled_cm_tangent(p.t, drawn["warmup"], w, u.value(), dudt, config);
  const Tensor limited = config.normalise > 0 ? normalised(g, config.normalise, config.norm) : g;

  const std::int64_t elements = p.z.numel() / p.rows();
  const Tensor scale = deviation_at(p.t, config.data_deviation) / config.data_deviation;
  const Var residual = column(scale, p.z.rank()) * (u.value() - u) + limited;              // its value is g^, its gradient that of -(m/c) u
  Measured m = measure(residual, {}, weights(p.t, elements, config));
  m.raw = row_sums(square(g)) / static_cast<double>(elements);
  ObjectiveLoss out = report_weighed(m, p, config.row_weight, log_variance);
  report_derivative(out, {.dudt = dudt}, u.value());        // no guard acts on this derivative
  return out;
}

Ramp ScaledCmConfig::until(double end) {
  Ramp ramp("linear", 0, 1);
  ramp.end = end;
  return ramp;
}

Claims ScaledCmConfig::claims() const {
  if (warmup.last() != 1) return {false, false, fmt::format("the tangent's part with du/dt is multiplied by {}", warmup.last())};
  return claims_of_derivative(derivative, {}, claims_under({}, normalise));
}

void ScaledCmConfig::check(const std::string& keys, std::int64_t steps) const { warmup.check(keys + ".warmup", steps, 0, 1); }

Drawn ScaledCmConfig::complete(PathBatch p, const TrainingStep& now) const {
  Tensor of_rows = Tensor::full({p.rows()}, warmup.at(now), p.z.dtype());
  return {std::move(p), {{"warmup", std::move(of_rows)}}};
}

Drawn ScaledCmConfig::draw(const Batch& batch, const Nets&, const TrainingStep& now) const { return complete(draw_jumps_to_data(batch, time, labels), now); }
std::string ScaledCmConfig::not_recorded(const std::string&) const { return ""; }

namespace {

// Lu and Song 2025, CIFAR-10.
template <class Config> Config of_the_paper() {
  Config c;
  c.warmup = ScaledCmConfig::until(10000);
  c.normalise = 0.1;
  c.row_weight = true;
  c.time.upper = 1, c.time.shift = 1;
  return c;
}

}  // namespace

SctConfig SctConfig::published() { return of_the_paper<SctConfig>(); }
ScdConfig ScdConfig::published() { return of_the_paper<ScdConfig>(); }

Needs SctConfig::needs() const { return needs_of(*this); }
ObjectiveLoss SctConfig::loss(const Nets& nets, const Drawn& drawn) const { return scaled_cm(nets.net, drawn, nets.velocity, *this, nets.log_variance); }

Needs ScdConfig::needs() const {
  Needs needs = needs_of(*this);
  needs.teacher = true, needs.velocity = false, needs.teacher_calls = 1;
  return needs;
}
ObjectiveLoss ScdConfig::loss(const Nets& nets, const Drawn& drawn) const {
  return scaled_cm(nets.net, drawn, velocity_source("teacher", nets.teacher, nets.beside > 0), *this, nets.log_variance);
}

}  // namespace fm
