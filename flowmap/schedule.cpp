#include "flowmap/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace fm {
namespace {

double in_steps(double x, const TrainingStep& now) { return x > 1 ? x : x * static_cast<double>(now.total); }

}  // namespace

double Ramp::at(const TrainingStep& now) const {
  if (kind == "constant") return from;
  const double first = in_steps(begin, now), last = in_steps(end, now);
  if (last <= first) throw ConfigError(fmt::format("a schedule from {} to {} ends at step {} and begins at step {}: raise end", from, to, last, first));
  const double x = (static_cast<double>(now.step) - first) / (last - first);
  if (kind == "sigmoid") {
    const double share = 1 / (1 + std::exp(-steepness * (x - 0.5)));
    return share < snap ? from : share > 1 - snap ? to : from + (to - from) * share;
  }
  const double inside = std::clamp(x, 0.0, 1.0);
  if (kind == "linear") return from + (to - from) * inside;
  if (from <= 0 || to <= 0) throw ConfigError(fmt::format("an exponential schedule from {} to {}: both must be above 0", from, to));
  return from * std::pow(to / from, inside);
}

}  // namespace fm
