#include "flowmap/sampler_sde.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <numbers>

#include "flowmap/row_noise.h"
#include "tensor/error.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

constexpr double start_of_sbdm = 0.999;

void check(const SdeConfig& c) {
  if (c.calls < 2) throw ConfigError(fmt::format("the SDE sampler has {} calls; it needs at least 2", c.calls));
  if (!(c.scale >= 0) || !std::isfinite(c.scale)) throw ConfigError(fmt::format("the SDE sampler's diffusion has the scale {}; it must be 0 or more", c.scale));
  if (!(c.last > 0 && c.last < 1)) throw ConfigError(fmt::format("the SDE sampler's last step begins at t = {}; that must lie between 0 and 1", c.last));
}

struct Slope {
  Tensor velocity, drift;                   // v, and d of the header
};

Slope slope_at(const VelocityNet& v, const Tensor& z, const Labels& y, double t, double w) {
  const Tensor velocity = evaluate(v, z, Tensor::full({z.dim(0)}, t, z.dtype()), y);
  return {velocity, velocity + (w / t) * (z + (1 - t) * velocity)};
}

}  // namespace

Diffusion diffusion_named(const std::string& name) {
  static const std::map<std::string, Diffusion> known{{"sigma", Diffusion::sigma}, {"linear", Diffusion::sigma}, {"constant", Diffusion::constant},
    {"sbdm", Diffusion::sbdm}, {"decreasing", Diffusion::decreasing}, {"increasing-decreasing", Diffusion::increasing_decreasing}};
  if (const auto at = known.find(name); at != known.end()) return at->second;
  throw ConfigError("there is no diffusion '" + name + "': known are sigma, linear, constant, sbdm, decreasing and increasing-decreasing");
}

LastStep last_step_named(const std::string& name) {
  static const std::map<std::string, LastStep> known{{"mean", LastStep::mean}, {"tweedie", LastStep::tweedie}, {"none", LastStep::none}};
  if (const auto at = known.find(name); at != known.end()) return at->second;
  throw ConfigError("there is no last step '" + name + "': known are mean, tweedie and none");
}

double diffusion_at(Diffusion form, double t) {
  switch (form) {
    case Diffusion::sigma: return t;
    case Diffusion::constant: return 1;
    case Diffusion::sbdm: return t / (1 - t);
    case Diffusion::decreasing: return std::pow(std::cos(std::numbers::pi * (1 - t)) + 1, 2) / 4;
    case Diffusion::increasing_decreasing: return std::pow(std::sin(std::numbers::pi * t), 2);
  }
  return 0;
}

Tensor sample_sde(const VelocityNet& v, const Tensor& noise, const Labels& y, const SdeConfig& config) {
  check(config);
  const RowNoise fresh(noise);
  const double start = config.diffusion == Diffusion::sbdm ? start_of_sbdm : 1;
  const std::int64_t steps = config.calls - 1;
  const double h = (start - config.last) / static_cast<double>(steps);
  Tensor z = noise;
  for (std::int64_t k = 0; k < steps; ++k) {
    const double t = start - h * static_cast<double>(k), w = config.scale * diffusion_at(config.diffusion, t);
    z = z - h * slope_at(v, z, y, t, w).drift;
    if (w > 0) z = z + std::sqrt(2 * w * h) * fresh.at(k);
  }
  if (config.last_step == LastStep::none) return z;
  const double t = config.last;
  const Slope last = slope_at(v, z, y, t, config.scale * diffusion_at(config.diffusion, t));
  return z - t * (config.last_step == LastStep::tweedie ? last.velocity : last.drift);
}

}  // namespace fm
