#include "flowmap/sampler_sde.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <numbers>
#include <utility>

#include "flowmap/row_noise.h"
#include "tensor/error.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

constexpr double start_of_sbdm = 0.999;

constexpr std::pair<const char*, Diffusion> diffusions[] = {{"sigma", Diffusion::sigma}, {"linear", Diffusion::sigma}, {"constant", Diffusion::constant},
  {"sbdm", Diffusion::sbdm}, {"decreasing", Diffusion::decreasing}, {"increasing-decreasing", Diffusion::increasing_decreasing}};
constexpr std::pair<const char*, LastStep> last_steps[] = {{"mean", LastStep::mean}, {"tweedie", LastStep::tweedie}, {"none", LastStep::none}};

template <class Table> std::vector<std::string> names_in(const Table& table) {
  std::vector<std::string> names;
  for (const auto& entry : table) names.emplace_back(entry.first);
  return names;
}

template <class Table> auto entry_named(const Table& table, const char* what, const std::string& name) {
  for (const auto& entry : table)
    if (entry.first == name) return entry.second;
  throw ConfigError(fmt::format("there is no {} '{}': known are {}", what, name, fmt::join(names_in(table), ", ")));
}

double first_time(const SdeConfig& c) { return c.diffusion == Diffusion::sbdm ? start_of_sbdm : 1; }

void check(const SdeConfig& c) {
  if (c.calls < 2) throw ConfigError(fmt::format("the SDE sampler has {} calls: give at least 2; SiT takes 250", c.calls));
  if (!(c.scale >= 0) || !std::isfinite(c.scale)) throw ConfigError(fmt::format("the scale of the SDE sampler's diffusion is {}: give 0 or more", c.scale));
  if (!(c.last > 0 && c.last < first_time(c)))
    throw ConfigError(fmt::format("the SDE sampler's last step begins at t = {}: give a time above 0 and below its first time, {}; SiT takes 0.04", c.last,
                                  first_time(c)));
}

struct Slope {
  Tensor velocity, drift;                   // v, and d of the header
};

Slope slope_at(const VelocityNet& v, const Tensor& z, const Labels& y, double t, double w) {
  const Tensor velocity = evaluate(v, z, Tensor::full({z.dim(0)}, t, z.dtype()), y);
  return {velocity, velocity + (w / t) * (z + (1 - t) * velocity)};
}

}  // namespace

std::vector<std::string> diffusion_names() { return names_in(diffusions); }
Diffusion diffusion_named(const std::string& name) { return entry_named(diffusions, "diffusion", name); }

std::vector<std::string> last_step_names() { return names_in(last_steps); }
LastStep last_step_named(const std::string& name) { return entry_named(last_steps, "last step", name); }

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
  const double start = first_time(config);
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
