#include "flowmap/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace fm {
namespace {

double in_steps(double x, std::int64_t total) { return x > 1 ? x : x * static_cast<double>(total); }

}  // namespace

double Ramp::at(const TrainingStep& now) const {
  if (kind == "constant") return from;
  const double first = in_steps(begin, now.total), last = in_steps(end, now.total);
  const double x = (static_cast<double>(now.step) - first) / (last - first);
  if (kind == "sigmoid") {
    const double share = 1 / (1 + std::exp(-steepness * (x - 0.5)));
    return share < snap ? from : share > 1 - snap ? to : from + (to - from) * share;
  }
  const double inside = std::clamp(x, 0.0, 1.0);
  if (kind == "linear") return from + (to - from) * inside;
  return from * std::pow(to / from, inside);
}

void Ramp::check(const std::string& key, std::int64_t steps, double low, double high) const {
  const bool constant = kind == "constant";
  const auto refuse_outside = [&](const char* which, double value) {
    if (!(value >= low && value <= high)) throw ConfigError(fmt::format("{}.{} = {}: it must be between {} and {}", key, which, value, low, high));
  };
  refuse_outside("from", from);
  if (constant) return;
  refuse_outside("to", to);
  const double first = in_steps(begin, steps), last = in_steps(end, steps);
  if (last > static_cast<double>(steps))
    throw ConfigError(fmt::format("{}.end: the change to {} ends at step {}, and the training has {} steps: the change would never be complete. Train longer, or give a share of the "
                                  "training, such as 0.2", key, to, last, steps));
  if (last <= first)
    throw ConfigError(fmt::format("{}: the change from {} to {} begins at step {} and ends at step {} of {}: raise {}.end", key, from, to, first, last,
                                  steps, key));
  if (kind == "exponential" && (from <= 0 || to <= 0))
    throw ConfigError(fmt::format("{}: an exponential change from {} to {} is not possible: both must be above 0", key, from, to));
}

}  // namespace fm
